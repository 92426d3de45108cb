from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.telephony.stir import ORIGID
from voiceguard.errors import InvalidAttestation
from voiceguard.telephony.attestation import (
    MAX_TEXT_CHARS,
    Attestation,
    Verification,
    attestation_of,
    parse_attestation,
)
from voiceguard.telephony.passport import Level, Signature, parse_identity

A, B, C = Level.A, Level.B, Level.C
PASSED, FAILED, NOT_DONE, UNKNOWN = (
    Verification.PASSED,
    Verification.FAILED,
    Verification.NOT_DONE,
    Verification.UNKNOWN,
)
PAI = "P-Asserted-Identity: "


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        # plain letters
        ("A", Attestation(A, UNKNOWN, None)),
        (" c\n", Attestation(C, UNKNOWN, None)),
        # verstat values, Twilio's among them
        ("TN-Validation-Passed", Attestation(None, PASSED, None)),
        ("TN-Validation-Passed-A", Attestation(A, PASSED, None)),
        ("tn-validation-passed-b", Attestation(B, PASSED, None)),
        ("TN-Validation-Passed-C-Diverted", Attestation(C, PASSED, None, ("diverted",))),
        ("TN-Validation-Passed-A-Passthrough", Attestation(A, PASSED, None, ("passthrough",))),
        ("TN-Validation-Failed-A", Attestation(A, FAILED, None)),
        ("TN-Validation-Failed", Attestation(None, FAILED, None)),
        ("No-TN-Validation", Attestation(None, NOT_DONE, None)),
        ({"StirVerstat": "TN-Validation-Passed-B", "From": "+12155550100"}, Attestation(B, PASSED, None)),
        ({"X-Twilio-VerStat": "No-TN-Validation"}, Attestation(None, NOT_DONE, None)),
        # P-Asserted-Identity: Telnyx leaves -A out, others don't say the level there
        (
            PAI + '"J" <sip:+18889809750@sip.telnyx.com;verstat=TN-Validation-Passed>',
            Attestation(A, PASSED, None, ("level_by_telnyx_default",)),
        ),
        ("<sip:+1888@sip.telnyx.com;verstat=TN-Validation-Passed-B>", Attestation(B, PASSED, None)),
        ("<sip:+1888@telnyx.com.evil.example;verstat=TN-Validation-Passed>", Attestation(None, PASSED, None)),
        (
            PAI + "<sip:+13339990000;verstat=TN-Validation-Passed@192.0.2.1:5060>",
            Attestation(None, PASSED, None),
        ),
        (
            PAI + "<sip:+15617500080;verstat=TN-Validation-Passed>\r\nP-Attestation-Indicator: B",
            Attestation(B, PASSED, None),
        ),
        ("<tel:+1888>;verstat=No-TN-Validation", Attestation(None, NOT_DONE, None)),
        ("sip:+1888@10.0.0.1;verstat=TN-Validation-Failed;user=phone", Attestation(None, FAILED, None)),
        # Oracle SBC
        (f"Attestation-Info: B\r\nOrigination-ID: {ORIGID}\r\n", Attestation(B, UNKNOWN, ORIGID)),
        ("Via: SIP/2.0/UDP x\r\nAttestation-Info: C", Attestation(C, UNKNOWN, None)),
        # Bandwidth
        (
            {
                "stirShaken": {
                    "verstat": "Tn-Verification-Passed",
                    "attestationIndicator": "A",
                    "originatingId": "x1",
                }
            },
            Attestation(A, PASSED, "x1"),
        ),
        ({"verstat": "TN-Validation-Failed", "attestationIndicator": "C"}, Attestation(C, FAILED, None)),
        # Plivo
        ("Verified", Attestation(A, PASSED, None)),
        ({"STIRVerification": "not_verified"}, Attestation(None, UNKNOWN, None, ("not_level_a",))),
        ({"X-Plivo-Stir-Verification": "Not Verified"}, Attestation(None, UNKNOWN, None, ("not_level_a",))),
        ("X-Plivo-Stir-Verification: Not Applicable", Attestation(None, NOT_DONE, None)),
        # {attest, origid, verstat}
        (
            {"attest": "B", "origid": ORIGID, "verstat": "TN-Validation-Passed"},
            Attestation(B, PASSED, ORIGID),
        ),
        ({"attest": "B", "origid": None, "verstat": ""}, Attestation(B, UNKNOWN, None)),
        # fields that disagree: the more cautious word stands
        (
            {"attest": "A", "verstat": "TN-Validation-Failed-C", "stirVerification": "Verified"},
            Attestation(C, FAILED, None, ("levels_differ", "verifications_differ")),
        ),
    ],
)
def test_each_known_form_is_read(value: str | Mapping[str, object], expected: Attestation) -> None:
    assert parse_attestation(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        "",
        "D",
        "AB",
        "yes",
        "TN-Validation-Passed-D",
        "Passed",
        "<sip:+1888@x>;verstat=Perhaps",
        PAI + "<sip:+1888@x>;verstat=Perhaps",
        "Attestation-Info: full",
        {},
        {"from": "+12155550100"},
        {"stirShaken": {}},
        {"stirShaken": {"stirShaken": {"attest": "A"}}},
        {"attest": 1},
        {"attest": ["A"]},
        {"verstat": {"a": "b"}},
        {"origid": "x" * 129},
        {"STIRVerification": "maybe"},
        "A" * (MAX_TEXT_CHARS + 1),
        {"attest": "A" * (MAX_TEXT_CHARS + 1)},
        {f"f{i}": "A" for i in range(257)},
    ],
)
def test_what_is_in_no_known_form_is_refused_with_reason(value: str | Mapping[str, object]) -> None:
    with pytest.raises(InvalidAttestation, match=r"^Expected .*\.$"):
        parse_attestation(value)


def test_the_shaken_token_attests(sign: Callable[..., str]) -> None:
    bare: dict[str, object] = {"attest": None, "origid": None}
    rcd = sign({**bare, "rcd": {"nam": "x"}}, {"ppt": "rcd"})
    passports = parse_identity([rcd, sign({"attest": "B"})])
    assert attestation_of(passports) == Attestation(B, UNKNOWN, ORIGID)
    assert attestation_of(passports[:1]) is None
    for signature, verification in ((Signature.VERIFIED, PASSED), (Signature.FAILED, FAILED)):
        checked = dataclasses.replace(passports[1], signature=signature)
        assert attestation_of([checked]) == Attestation(B, verification, ORIGID)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=30) | st.just("TN-Validation-Passed-A"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_names = st.sampled_from(["attest", "verstat", "origid", "stirShaken", "From", "STIRVerification", "x"])


@given(st.text(max_size=200) | st.dictionaries(_names, _json, max_size=5))
def test_anything_is_read_or_refused(value: str | dict[str, object]) -> None:
    try:
        attestation = parse_attestation(value)
    except InvalidAttestation:
        return
    assert isinstance(attestation, Attestation)


@given(st.text(alphabet=';verstat=TN-Vlido@<>"\r\n: ', max_size=200))
def test_text_near_the_known_forms_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidAttestation):
        assert isinstance(parse_attestation(text), Attestation)
