from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.telephony.stir import CALL_AT, IAT, ORIGID, X5U, Authority


def _certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    ca: bool,
    tn_auth_list: bool = False,
    not_before: dt.datetime,
    not_after: dt.datetime,
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
        .add_extension(
            x509.KeyUsage(
                digital_signature=not ca,
                key_cert_sign=ca,
                crl_sign=ca,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    )
    if tn_auth_list:
        # TNAuthorizationList with one service provider code, [0] IA5String "709J" (RFC 8226, section 9)
        value = bytes.fromhex("3008a0061604373039 4a")
        oid = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.26")
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, value), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


@pytest.fixture(scope="session")
def authority() -> Authority:
    start, end = CALL_AT - dt.timedelta(days=900), CALL_AT + dt.timedelta(days=900)
    root_key, intermediate_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = _certificate("STI root", root_key, "STI root", root_key, ca=True, not_before=start, not_after=end)
    intermediate = _certificate(
        "STI issuer", intermediate_key, "STI root", root_key, ca=True, not_before=start, not_after=end
    )

    def issue(
        *,
        curve: ec.EllipticCurve | None = None,
        ca: bool = False,
        tn_auth_list: bool = True,
        not_before: dt.datetime = CALL_AT - dt.timedelta(days=30),
        not_after: dt.datetime = CALL_AT + dt.timedelta(days=30),
    ) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        key = ec.generate_private_key(curve or ec.SECP256R1())
        leaf = _certificate(
            "SHAKEN 709J",
            key,
            "STI issuer",
            intermediate_key,
            ca=ca,
            tn_auth_list=tn_auth_list,
            not_before=not_before,
            not_after=not_after,
        )
        return leaf, key

    return Authority(root, intermediate, issue)


@pytest.fixture(scope="session")
def signer(authority: Authority) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    return authority.issue()


@pytest.fixture(scope="session")
def sign(signer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey]) -> Callable[..., str]:
    """Return a function that signs a SHAKEN token; `claims` and `header` change or (None) remove members."""

    def _sign(
        claims: dict[str, object] | None = None,
        header: dict[str, object] | None = None,
        *,
        key: ec.EllipticCurvePrivateKey = signer[1],
        algorithm: str = "ES256",
    ) -> str:
        body: dict[str, object] = {
            "attest": "A",
            "dest": {"tn": ["12025550143"]},
            "iat": IAT,
            "orig": {"tn": "12155550100"},
            "origid": ORIGID,
        }
        top: dict[str, object] = {"typ": "passport", "ppt": "shaken", "x5u": X5U}
        for values, changes in ((body, claims), (top, header)):
            for name, value in (changes or {}).items():
                values.pop(name, None)
                if value is not None:
                    values[name] = value
        payload = json.dumps(body, separators=(",", ":"), sort_keys=True).encode()
        return jwt.PyJWS().encode(payload, key, algorithm=algorithm, headers=top)

    return _sign
