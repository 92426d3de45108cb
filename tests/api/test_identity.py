from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from tests.api.conftest import Api, problem_of, running
from tests.telephony.conftest import authority, sign, signer  # noqa: F401
from tests.telephony.stir import CALL_AT, Authority
from voiceguard.settings import Settings

Sign = Callable[..., str]
Signer = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]
CALL = {"started_at": CALL_AT.isoformat(), "caller": "+12155550100", "callee": "+12025550143"}


def _pem(*certificates: x509.Certificate) -> str:
    return "".join(one.public_bytes(Encoding.PEM).decode() for one in certificates)


@pytest.fixture(scope="module")
def api(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:  # noqa: F811
    folder = tmp_path_factory.mktemp("stir")
    roots = folder / "roots.pem"
    roots.write_text(_pem(authority.root))
    with running(folder, stir_trust_anchors=roots) as api:
        yield api


@pytest.fixture
def post(api: Api, short_clip: bytes) -> Callable[..., list[dict[str, Any]]]:
    """Post a call and return its tokens as a later reader sees them."""

    def _post(**fields: Any) -> list[dict[str, Any]]:
        posted = api.post(short_clip, CALL | fields)
        assert posted.status_code == 201, posted.text
        tokens: list[dict[str, Any]] = api.get(f"/v1/calls/{posted.json()['id']}").json()["passports"]
        return tokens

    return _post


def test_a_signature_that_chains_to_a_root_is_verified(
    post: Callable[..., list[dict[str, Any]]],
    sign: Sign,  # noqa: F811
    signer: Signer,  # noqa: F811
    authority: Authority,  # noqa: F811
) -> None:
    chain = _pem(signer[0], authority.intermediate)
    (token,) = post(identity=sign(), identity_certificates=chain)
    assert (token["signature"], token["signature_reason"], token["differences"]) == ("verified", None, [])
    assert token["certificates"] == chain


def test_each_of_two_signers_finds_its_certificate_in_any_order(
    post: Callable[..., list[dict[str, Any]]],
    sign: Sign,  # noqa: F811
    signer: Signer,  # noqa: F811
    authority: Authority,  # noqa: F811
) -> None:
    other_leaf, other_key = authority.issue()
    tokens = post(
        identity=[sign(), sign(key=other_key)],
        identity_certificates=_pem(authority.intermediate, other_leaf, signer[0]),
    )
    assert [token["signature"] for token in tokens] == ["verified", "verified"]


def test_an_altered_token_fails(
    post: Callable[..., list[dict[str, Any]]],
    sign: Sign,  # noqa: F811
    signer: Signer,  # noqa: F811
    authority: Authority,  # noqa: F811
) -> None:
    header, _, signature = sign({"attest": "C"}).split(".")
    claims = sign({"attest": "A"}).split(".")[1]
    (token,) = post(
        identity=f"{header}.{claims}.{signature}",
        identity_certificates=_pem(authority.intermediate, signer[0]),
    )
    assert (token["signature"], token["signature_reason"]) == ("failed", "signature")


def test_without_certificates_nothing_is_checked(
    post: Callable[..., list[dict[str, Any]]],
    sign: Sign,  # noqa: F811
) -> None:
    (token,) = post(identity=sign())
    assert (token["signature"], token["signature_reason"]) == ("not_checked", "no_certificate")
    assert token["certificates"] is None


def test_a_token_of_another_call_is_told(
    post: Callable[..., list[dict[str, Any]]],
    sign: Sign,  # noqa: F811
) -> None:
    (token,) = post(identity=sign(), caller="+12155550199", started_at="2026-03-01T12:05:00Z")
    assert token["differences"] == ["orig_differs", "iat_not_fresh"]


def test_what_is_no_certificate_is_refused(api: Api, short_clip: bytes, sign: Sign) -> None:  # noqa: F811
    posted = api.post(short_clip, CALL | {"identity": sign(), "identity_certificates": "none"})
    assert posted.status_code == 422
    assert problem_of(posted) == "invalid_request"
    assert posted.json()["errors"][0]["at"] == "call.identity_certificates"


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_roots_that_cannot_be_read_stop_the_start(tmp_path: Path, content: str | None) -> None:
    roots = tmp_path / "roots.pem"
    if content is not None:
        roots.write_text(content)
    with pytest.raises(ValueError, match="expected PEM certificates"):
        Settings(data_dir=tmp_path, stir_trust_anchors=roots)
