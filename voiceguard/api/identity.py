"""What a call's Identity header says, and whether its signature holds."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from typing import Any

from cryptography import x509

from voiceguard.api.models import CallIn
from voiceguard.errors import InvalidPassport
from voiceguard.telephony.attestation import Attestation, attestation_of, parse_attestation
from voiceguard.telephony.passport import Passport, Signature, parse_identity
from voiceguard.telephony.signature import check_signature, differences


def read_identity(
    posted: CallIn, anchors: Sequence[x509.Certificate]
) -> tuple[list[dict[str, Any]], Attestation | None]:
    """Return the tokens of a call as JSON, and its attestation: from the tokens, or the switch's own form.

    A header that can't be read is kept with the reason, never refused: whoever placed the call chose these
    bytes, and they must not be able to keep the call out of the store.
    """
    passports: list[dict[str, Any]] = []
    attestation = None
    if posted.identity:
        try:
            tokens = [
                _checked(token, posted.identity_certificates, anchors, posted.started_at)
                for token in parse_identity(posted.identity)
            ]
        except InvalidPassport as error:
            passports = [{"error": str(error)}]
        else:
            passports = [_document(token, posted) for token in tokens]
            attestation = attestation_of(tokens)
    if posted.attestation is not None:
        attestation = parse_attestation(posted.attestation)
    return passports, attestation


def _checked(
    token: Passport, pem: str | None, anchors: Sequence[x509.Certificate], at: dt.datetime
) -> Passport:
    """Check a token against each certificate that may be its signer's; the others are intermediates.

    A call can carry tokens of several signers, and the certificates don't say which is whose.
    """
    certificates = x509.load_pem_x509_certificates(pem.encode()) if pem else []
    checked = check_signature(token, certificates, anchors, at=at)
    for index in range(1, len(certificates)):
        if checked.signature is not Signature.FAILED:
            break
        others = certificates[:index] + certificates[index + 1 :]
        tried = check_signature(token, [certificates[index], *others], anchors, at=at)
        # An intermediate is no signer; what a telephone-number certificate failed by says more.
        if tried.signature is Signature.VERIFIED or checked.signature_reason == "certificate_kind":
            checked = tried
    return checked


def _document(token: Passport, posted: CallIn) -> dict[str, Any]:
    found: tuple[str, ...] = ()
    if token.ppt in (None, "shaken"):
        found = differences(token, caller=posted.caller, callee=posted.callee, started_at=posted.started_at)
    # With the token, whoever checks it again needs what it was checked against.
    used = posted.identity_certificates if token.signature is not Signature.NOT_CHECKED else None
    return dataclasses.asdict(token) | {"differences": list(found), "certificates": used}
