from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from tests.telephony.stir import CALL_AT, IAT, Authority
from voiceguard.telephony.passport import Passport, Signature, parse_identity
from voiceguard.telephony.signature import check_signature, differences

Sign = Callable[..., str]
Signer = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def _check(passport: Passport, authority: Authority, leaf: x509.Certificate) -> tuple[Signature, str | None]:
    checked = check_signature(passport, [leaf, authority.intermediate], [authority.root], at=CALL_AT)
    assert checked.token == passport.token
    return checked.signature, checked.signature_reason


def test_a_token_of_a_chained_certificate_is_verified(
    sign: Sign, signer: Signer, authority: Authority
) -> None:
    (passport,) = parse_identity(sign())
    assert _check(passport, authority, signer[0]) == (Signature.VERIFIED, None)


def test_without_certificates_or_anchors_nothing_is_checked(sign: Sign, signer: Signer) -> None:
    (passport,) = parse_identity(sign())
    unsigned = check_signature(passport, [], [signer[0]], at=CALL_AT)
    assert (unsigned.signature, unsigned.signature_reason) == (Signature.NOT_CHECKED, "no_certificate")
    untrusted = check_signature(passport, [signer[0]], [], at=CALL_AT)
    assert (untrusted.signature, untrusted.signature_reason) == (Signature.NOT_CHECKED, "no_trust_anchor")


def test_an_altered_claim_fails(sign: Sign, signer: Signer, authority: Authority) -> None:
    header, claims, _ = sign({"attest": "C"}).split(".")
    _, other_claims, signature = sign({"attest": "A"}).split(".")
    assert claims != other_claims
    (passport,) = parse_identity(f"{header}.{claims}.{signature}")
    assert _check(passport, authority, signer[0]) == (Signature.FAILED, "signature")


def test_another_signers_certificate_fails(sign: Sign, authority: Authority) -> None:
    (passport,) = parse_identity(sign())
    assert _check(passport, authority, authority.issue()[0]) == (Signature.FAILED, "signature")


@pytest.mark.parametrize(
    "dates",
    [
        {"not_after": CALL_AT - dt.timedelta(seconds=1)},
        {"not_before": CALL_AT + dt.timedelta(seconds=1)},
    ],
)
def test_a_certificate_out_of_date_at_the_call_fails(
    sign: Sign, authority: Authority, dates: dict[str, dt.datetime]
) -> None:
    leaf, key = authority.issue(**dates)
    (passport,) = parse_identity(sign(key=key))
    assert _check(passport, authority, leaf) == (Signature.FAILED, "chain")


def test_a_stranger_root_or_a_missing_intermediate_fails(
    sign: Sign, signer: Signer, authority: Authority
) -> None:
    (passport,) = parse_identity(sign())
    stranger, _ = authority.issue(ca=True)
    for chain, anchors in (
        ([signer[0], authority.intermediate], [stranger]),
        ([signer[0]], [authority.root]),
    ):
        assert check_signature(passport, chain, anchors, at=CALL_AT).signature_reason == "chain"


def test_only_a_telephone_certificate_with_a_p256_key_signs(sign: Sign, authority: Authority) -> None:
    web, web_key = authority.issue(tn_auth_list=False)
    (passport,) = parse_identity(sign(key=web_key))
    assert _check(passport, authority, web) == (Signature.FAILED, "certificate_kind")
    large, _ = authority.issue(curve=ec.SECP384R1())
    assert _check(passport, authority, large) == (Signature.FAILED, "certificate_kind")
    issuer, issuer_key = authority.issue(ca=True)
    (passport,) = parse_identity(sign(key=issuer_key))
    assert _check(passport, authority, issuer) == (Signature.FAILED, "chain")


@pytest.mark.parametrize("algorithm", ["ES384", "none", "HS256"])
def test_no_other_algorithm_counts(sign: Sign, signer: Signer, authority: Authority, algorithm: str) -> None:
    # The classic forgeries: no signature at all, or an HMAC whose key is the public certificate.
    token = sign()
    header = json.dumps({"alg": algorithm, "typ": "passport", "ppt": "shaken"})
    forged = base64.urlsafe_b64encode(header.encode()).rstrip(b"=").decode()
    (passport,) = parse_identity(".".join([forged, *token.split(".")[1:]]))
    assert passport.algorithm == algorithm
    assert _check(passport, authority, signer[0]) == (Signature.FAILED, "algorithm")


def test_a_copied_token_differs_from_the_call(sign: Sign) -> None:
    (passport,) = parse_identity(sign())
    call = {"caller": "+12155550100", "callee": "+12025550143"}
    assert differences(passport, **call, started_at=CALL_AT) == ()
    assert differences(passport, caller=None, callee=None, started_at=CALL_AT) == ()
    later = CALL_AT + dt.timedelta(minutes=5)
    assert differences(passport, **call, started_at=later) == ("iat_not_fresh",)
    other = {"caller": "+12155550101", "callee": "+12025550144"}
    assert differences(passport, **other, started_at=CALL_AT) == ("orig_differs", "dest_differs")
    (quoted,) = parse_identity(sign({"iat": str(IAT - 59)}))
    assert differences(quoted, **call, started_at=CALL_AT) == ()
