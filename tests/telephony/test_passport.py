from __future__ import annotations

import base64
import contextlib
import json
import time
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.telephony.stir import IAT, ORIGID, X5U
from voiceguard.errors import InvalidPassport
from voiceguard.telephony.passport import (
    MAX_HEADER_CHARS,
    MAX_HEADERS,
    Level,
    Party,
    Signature,
    parse_identity,
)

Sign = Callable[..., str]


def _segment(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def _unsigned(claims: str, header: str = '{"alg":"ES256","typ":"passport","ppt":"shaken","x5u":"u"}') -> str:
    return f"{_segment(header)}.{_segment(claims)}.{_segment('s' * 64)}"


def test_a_shaken_header_is_read(sign: Sign) -> None:
    token = sign()
    (passport,) = parse_identity(f"Identity: {token};info=<{X5U}>;alg=ES256;ppt=shaken")
    assert passport.token == token
    assert passport.ppt == "shaken"
    assert passport.algorithm == "ES256"
    assert passport.certificate_url == X5U
    assert passport.issued_at_s == IAT
    assert passport.orig == Party(numbers=("12155550100",), uris=())
    assert passport.dest == Party(numbers=("12025550143",), uris=())
    assert passport.attest is Level.A
    assert passport.origid == ORIGID
    assert passport.div is None
    assert passport.claims == ("attest", "dest", "iat", "orig", "origid")
    assert passport.notes == ()
    assert passport.signature is Signature.NOT_CHECKED


@pytest.mark.parametrize(
    "tail",
    ["", f";info=<{X5U}>", f' ; info = <{X5U}> ; alg="ES256" ; ppt="shaken"', ";PPT=shaken;x=y;flag"],
)
def test_parameters_may_be_spaced_quoted_unknown_or_left_out(sign: Sign, tail: str) -> None:
    assert parse_identity(sign() + tail)[0].notes == ()


@pytest.mark.parametrize(
    ("claims", "header", "tail", "note"),
    [
        ({"iat": str(IAT)}, {}, "", "iat_quoted"),
        ({"orig": {"tn": "+1 (215) 555-0100"}}, {}, "", "tn_not_canonical"),
        ({"orig": {"tn": 12155550100}}, {}, "", "tn_not_text"),
        ({"attest": "a"}, {}, "", "attest_not_canonical"),
        ({"attest": None}, {}, "", "attest_missing"),
        ({"origid": None}, {}, "", "origid_missing"),
        ({"origid": "trunk-7"}, {}, "", "origid_not_uuid"),
        ({}, {"typ": "JWT"}, "", "typ_not_passport"),
        ({}, {"x5u": None}, "", "x5u_missing"),
        ({}, {}, ";ppt=div", "ppt_differs"),
        ({}, {}, ";info=<https://elsewhere.example/c.pem>", "info_differs"),
        ({}, {}, ";alg=RS256", "alg_differs"),
        ({}, {}, ';info="', "parameters_malformed"),
    ],
)
def test_known_deviations_are_tolerated_and_noted(
    sign: Sign, claims: dict[str, object], header: dict[str, object], tail: str, note: str
) -> None:
    (passport,) = parse_identity(sign(claims, header) + tail)
    assert note in passport.notes
    assert passport.issued_at_s == IAT
    assert passport.orig.numbers == ("12155550100",)


def test_div_rcd_and_rph_come_with_shaken(sign: Sign) -> None:
    shaken = sign()
    bare: dict[str, object] = {"attest": None, "origid": None}
    div = sign({**bare, "div": {"tn": "12025550199", "hi": "1.1"}}, {"ppt": "div"})
    rcd = sign({**bare, "rcd": {"nam": "Example, Inc.", "icn": "https://e.example/i"}}, {"ppt": "rcd"})
    rph = sign({**bare, "rph": {"auth": ["esnet.0"]}}, {"ppt": "rph"})
    lines = "\r\n".join(f"Identity: {token};info=<{X5U}>" for token in (shaken, div, rcd, rph))
    passports = parse_identity(lines)
    assert [passport.ppt for passport in passports] == ["shaken", "div", "rcd", "rph"]
    assert passports[1].div == Party(numbers=("12025550199",), uris=())
    assert "rcd" in passports[2].claims
    assert [passport.notes for passport in passports] == [(), (), (), ()]
    url = "https://certificates.example/a,b.pem"
    joined = parse_identity(f'{shaken};info=<{url}>, {div};info=<{url}>;ppt="div"')
    assert [passport.ppt for passport in joined] == ["shaken", "div"]
    assert parse_identity([shaken, div])[1] == parse_identity(div)[0]


def test_a_folded_header_is_one_header(sign: Sign) -> None:
    assert len(parse_identity(f"Identity: {sign()}\r\n ;info=<{X5U}>\r\n\t;alg=ES256\r\n")) == 1


def test_a_plain_passport_to_a_uri_is_read() -> None:
    # The claims are those of RFC 8225, appendix A.
    claims = '{"dest":{"uri":["sip:alice@example.com"]},"iat":1471375418,"orig":{"tn":"12155551212"}}'
    (passport,) = parse_identity(_unsigned(claims, f'{{"alg":"ES256","typ":"passport","x5u":"{X5U}"}}'))
    assert passport.ppt is None
    assert passport.orig.numbers == ("12155551212",)
    assert passport.dest == Party(numbers=(), uris=("sip:alice@example.com",))
    assert passport.issued_at_s == 1471375418
    assert (passport.attest, passport.origid, passport.notes) == (None, None, ())


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Identity:",
        "hello",
        "a.b.c",
        "a.b",
        f"..{_segment('s' * 64)};info=<{X5U}>",
        _unsigned("[]"),
        _unsigned("{}"),
        _unsigned("[" * 5000),
        _unsigned('{"iat":' + "9" * 5000 + "}"),
        _unsigned('{"iat":NaN,"orig":{"tn":"1"},"dest":{"tn":["1"]}}'),
        _unsigned('{"iat":1e400,"orig":{"tn":"1"},"dest":{"tn":["1"]}}'),
        _unsigned('{"iat":true,"orig":{"tn":"1"},"dest":{"tn":["1"]}}'),
        _unsigned('{"iat":-1,"orig":{"tn":"1"},"dest":{"tn":["1"]}}'),
        _unsigned('{"iat":1,"orig":"1","dest":{"tn":["1"]}}'),
        _unsigned('{"iat":1,"orig":{},"dest":{"tn":["1"]}}'),
        _unsigned('{"iat":1,"orig":{"tn":"x"},"dest":{"tn":["1"]}}'),
        _unsigned('{"iat":1,"orig":{"tn":"1"},"dest":{"tn":[' + ",".join(['"1"'] * 65) + "]}}"),
        _unsigned('{"iat":1,"orig":{"tn":"1"},"dest":{"uri":["' + "u" * 2049 + '"]}}'),
        _unsigned('{"iat":1,"orig":{"tn":"1"},"dest":{"tn":["1"]},"attest":"D"}'),
        _unsigned('{"iat":1,"orig":{"tn":"1"},"dest":{"tn":["1"]},"origid":{}}'),
        _unsigned('{"iat":1,"orig":{"tn":"1"},"dest":{"tn":["1"]}}', '{"typ":"passport"}'),
        _unsigned('{"iat":1,"orig":{"tn":"1"},"dest":{"tn":["1"]}}', '{"alg":7}'),
        "x" * (MAX_HEADER_CHARS + 1),
        "x" * (MAX_HEADERS * MAX_HEADER_CHARS + 1),
        "\n".join(["x.y.z"] * (MAX_HEADERS + 1)),
    ],
)
def test_what_is_no_passport_is_refused_with_reason(header: str) -> None:
    with pytest.raises(InvalidPassport, match=r"^Expected .*\.$") as caught:
        parse_identity(header)
    assert len(str(caught.value)) < 300


_members = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
_claims = st.fixed_dictionaries(
    {},
    optional={
        name: _members | st.just("A") | st.just(1) | st.fixed_dictionaries({"tn": _members})
        for name in ("iat", "orig", "dest", "attest", "origid", "div", "rcd")
    },
)


@given(st.text(max_size=300) | st.from_regex(r"[A-Za-z0-9_.\-;=<>\", \r\n]{0,200}", fullmatch=True))
@example('"' * 200)
@example("\x00")
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidPassport):
        assert parse_identity(text)


@given(_claims, _members)
def test_any_claims_are_read_or_refused(claims: dict[str, object], ppt: object) -> None:
    header = json.dumps({"alg": "ES256", "typ": "passport", "ppt": ppt})
    try:
        (passport,) = parse_identity(_unsigned(json.dumps(claims), header))
    except InvalidPassport:
        return
    for number in passport.orig.numbers + passport.dest.numbers:
        assert 0 < len(number) <= 20


def test_the_largest_header_block_costs_little_time() -> None:
    hostile = [
        ('"<,\\' * MAX_HEADER_CHARS)[: MAX_HEADER_CHARS * MAX_HEADERS],
        ";=" * 8000,
        ";a=" + '"\\' * 8000,
    ]
    began = time.process_time()
    for text in hostile:
        with pytest.raises(InvalidPassport):
            parse_identity(text)
    assert time.process_time() - began < 1.0
