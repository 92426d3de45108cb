"""Whether a PASSporT was signed by whom it claims.

The certificates come from the caller of these functions: fetching the token's ``x5u`` would let whoever
placed the call choose an address for this machine to visit.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence

import jwt
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from voiceguard.telephony.passport import Passport, Signature

MAX_INTERMEDIATES = 8
FRESH_S = 60.0
"""How far ``iat`` may lie from the call's start before a token counts as replayed (RFC 8224, section 6.2)."""

_TN_AUTH_LIST = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.26")


def check_signature(
    passport: Passport,
    certificates: Sequence[x509.Certificate],
    trust_anchors: Sequence[x509.Certificate],
    *,
    at: dt.datetime,
) -> Passport:
    """Check a token's ES256 signature and its signer's certificate chain.

    The steps, each of which can fail the token: (1) the algorithm is ES256, as RFC 8225 demands; (2) the
    first certificate is a telephone-number certificate (RFC 8226): it carries a TNAuthList and an EC P-256
    key; (3) it is no authority itself and chains to a trust anchor, every certificate valid at the call's
    start; (4) its key made the signature. Revocation and the numbers that the TNAuthList covers are not
    checked.

    Parameters
    ----------
    passport
        What :func:`voiceguard.telephony.passport.parse_identity` read.
    certificates
        The signer's certificate first, then intermediates. None at all leaves the token ``not_checked``.
    trust_anchors
        Roots of the STI authorities that count, such as the STI-PA's list. None leaves it ``not_checked``.
    at
        When the call began, with a time zone.

    Returns
    -------
    Passport
        The same token with ``signature``, and ``signature_reason`` unless it is verified: ``no_certificate``,
        ``no_trust_anchor``, ``algorithm``, ``certificate_kind``, ``chain`` or ``signature``.
    """
    if not certificates:
        return _result(passport, Signature.NOT_CHECKED, "no_certificate")
    if not trust_anchors:
        return _result(passport, Signature.NOT_CHECKED, "no_trust_anchor")
    # (1)
    if passport.algorithm != "ES256":
        return _result(passport, Signature.FAILED, "algorithm")
    # (2)
    leaf, intermediates = certificates[0], list(certificates[1 : 1 + MAX_INTERMEDIATES])
    key = _telephone_key(leaf)
    if key is None:
        return _result(passport, Signature.FAILED, "certificate_kind")
    # (3)
    if not _chains(leaf, intermediates, trust_anchors, at):
        return _result(passport, Signature.FAILED, "chain")
    # (4)
    try:
        jwt.PyJWS().decode_complete(passport.token, key, algorithms=["ES256"])
    except jwt.PyJWTError:
        return _result(passport, Signature.FAILED, "signature")
    return _result(passport, Signature.VERIFIED, None)


def differences(
    passport: Passport, *, caller: str | None, callee: str | None, started_at: dt.datetime
) -> tuple[str, ...]:
    """Say where a token doesn't fit the call it came with: a sign that it was copied from another call.

    Parameters
    ----------
    passport
        A ``shaken`` or plain token; the parties of a ``div`` token are those before the diversion.
    caller, callee
        In E.164 with ``+``, or None where unknown.
    started_at
        When the call began, with a time zone.

    Returns
    -------
    tuple of str
        Any of ``orig_differs``, ``dest_differs`` and ``iat_not_fresh``.
    """
    found = []
    if caller is not None and passport.orig.numbers and caller.removeprefix("+") not in passport.orig.numbers:
        found.append("orig_differs")
    if callee is not None and passport.dest.numbers and callee.removeprefix("+") not in passport.dest.numbers:
        found.append("dest_differs")
    if abs(started_at.timestamp() - passport.issued_at_s) > FRESH_S:
        found.append("iat_not_fresh")
    return tuple(found)


def _result(passport: Passport, signature: Signature, reason: str | None) -> Passport:
    return dataclasses.replace(passport, signature=signature, signature_reason=reason)


def _telephone_key(leaf: x509.Certificate) -> ec.EllipticCurvePublicKey | None:
    """Return the P-256 key of a telephone-number certificate, None for any other certificate."""
    try:
        leaf.extensions.get_extension_for_oid(_TN_AUTH_LIST)
        key = leaf.public_key()
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError, UnsupportedAlgorithm):
        return None
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    return None


def _no_authority(_policy: object, _leaf: x509.Certificate, found: x509.BasicConstraints | None) -> None:
    if found is not None and found.ca:
        raise ValueError("an authority's certificate signs no calls")


def _chains(
    leaf: x509.Certificate,
    intermediates: list[x509.Certificate],
    trust_anchors: Sequence[x509.Certificate],
    at: dt.datetime,
) -> bool:
    # Telephone-number certificates name numbers, not hosts, so the web's rules for a leaf don't fit them;
    # those for authorities (basicConstraints, keyUsage, path length) do.
    signer = ExtensionPolicy.permit_all().may_be_present(
        x509.BasicConstraints, Criticality.AGNOSTIC, _no_authority
    )
    builder = PolicyBuilder().store(Store(list(trust_anchors))).time(at.astimezone(dt.UTC))
    builder = builder.extension_policies(ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=signer)
    try:
        builder.build_client_verifier().verify(leaf, intermediates)
    except (VerificationError, ValueError):
        return False
    return True
