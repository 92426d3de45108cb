"""What a switch says of a caller's STIR/SHAKEN attestation, in the forms that switches say it.

Most carriers don't hand on the ``Identity`` header but what their verification service made of it: a
``verstat`` parameter in ``P-Asserted-Identity`` (3GPP TS 24.229), a webhook field, a vendor's header, a bare
letter. Each becomes one :class:`Attestation`. Level A says who vouches for a number, not that the call is
honest.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from voiceguard.errors import InvalidAttestation
from voiceguard.telephony.passport import Level, Passport, Signature

MAX_TEXT_CHARS = 8_192
"""Longest header block or value read."""
MAX_FIELDS = 256
"""Most fields of a webhook's body looked at."""
MAX_ORIGID_CHARS = 128


class Verification(enum.StrEnum):
    """What the terminating side's verification of the token found."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_DONE = "not_done"
    """No token came, or none that could be verified (``No-TN-Validation``)."""
    UNKNOWN = "unknown"
    """The form says nothing about it."""


@dataclass(frozen=True)
class Attestation:
    """What is known of one call's attestation."""

    level: Level | None
    """The level that the signer claimed, whether or not verification passed."""
    verification: Verification
    origid: str | None
    notes: tuple[str, ...] = ()
    """``diverted``, ``passthrough``, ``levels_differ``, ``verifications_differ``, ``not_level_a``,
    ``level_by_telnyx_default``."""


@dataclass(frozen=True)
class _Finding:
    """What one field says."""

    level: Level | None = None
    verification: Verification | None = None
    origid: str | None = None
    notes: tuple[str, ...] = ()


_VERSTAT = re.compile(
    r"(?:TN-(?:Validation|Verification)-(?P<result>Passed|Failed)|(?P<none>No-TN-Validation))"
    r"(?:-(?P<level>[ABC]))?(?:-(?P<path>Diverted|Passthrough))?",
    re.IGNORECASE,
)
_VERSTAT_PARAMETER = re.compile(r";\s*verstat\s*=\s*\"?(?P<verstat>[A-Za-z-]{1,64})", re.IGNORECASE)
_TELNYX_URI = re.compile(r"@(?:[a-z0-9-]{1,63}\.){0,4}telnyx\.com(?![a-z0-9.-])", re.IGNORECASE)
_HEADER_LINE = re.compile(r"(?P<name>[A-Za-z][A-Za-z0-9-]{0,63})\s*:\s*(?P<value>.*)")

# Field names without case, hyphens and underscores.
_LEVEL_FIELDS = frozenset(
    {"attest", "attestation", "attestationindicator", "attestationinfo", "pattestationindicator"}
)
_ORIGID_FIELDS = frozenset({"origid", "originatingid", "originationid", "poriginationid"})
_VERSTAT_FIELDS = frozenset({"verstat", "stirverstat", "stirstatus", "xtwilioverstat"})
_PLIVO_FIELDS = frozenset({"stirverification", "xplivostirverification"})
_ADDRESS_FIELDS = frozenset({"passertedidentity", "from", "f"})
_NESTED_FIELDS = frozenset({"stirshaken"})


def parse_attestation(value: str | Mapping[str, object]) -> Attestation:
    """Read an attestation in any form that a switch hands over.

    Parameters
    ----------
    value
        A letter (``A``), a verstat value (``TN-Validation-Passed-B``), Plivo's ``Verified`` or ``Not
        Verified``, header lines (``P-Asserted-Identity: …;verstat=…``, ``Attestation-Info: A``,
        ``Origination-ID: …``), a ``P-Asserted-Identity`` value alone, or an object of fields: ``{attest,
        origid, verstat}``, Bandwidth's ``stirShaken``, Twilio's and Plivo's webhook bodies as they came.

    Returns
    -------
    Attestation
        Where fields disagree, the level that vouches for less and the verification that found less.

    Raises
    ------
    InvalidAttestation
        The value is too large, is in no known form, or a known field holds something unknown.
    """
    findings = _findings_of_text(value) if isinstance(value, str) else _findings_of_fields(value)
    if not findings:
        raise InvalidAttestation(
            "Expected an attestation (A, B or C), a verstat value or a switch's fields, got none of them."
        )
    return _merge(findings)


def attestation_of(passports: Iterable[Passport]) -> Attestation | None:
    """Return what the ``shaken`` token among a call's ``Identity`` headers attests, None without one."""
    shaken = [passport for passport in passports if passport.attest is not None]
    if not shaken:
        return None
    results = {
        Signature.VERIFIED: Verification.PASSED,
        Signature.FAILED: Verification.FAILED,
        Signature.NOT_CHECKED: None,
    }
    return _merge([_Finding(token.attest, results[token.signature], token.origid) for token in shaken])


def _findings_of_text(text: str) -> list[_Finding]:
    if len(text) > MAX_TEXT_CHARS:
        raise InvalidAttestation(
            f"Expected an attestation of at most {MAX_TEXT_CHARS} characters, got {len(text)}."
        )
    stripped = text.strip()
    if stripped.upper() in Level.__members__:
        return [_Finding(level=Level(stripped.upper()))]
    if _VERSTAT.fullmatch(stripped):
        return [_verstat(stripped)]
    plivo = _plivo(stripped)
    if plivo is not None:
        return [plivo]
    fields: dict[str, object] = {}
    for line in re.sub(r"\r?\n[ \t]+", " ", stripped).splitlines():
        match = _HEADER_LINE.match(line.strip())
        if match is not None:
            fields.setdefault(match["name"], match["value"])  # of repeated headers the first counts
    findings = _findings_of_fields(fields)
    if not findings and _VERSTAT_PARAMETER.search(stripped):
        findings = [_address(stripped)]
    return findings


def _findings_of_fields(fields: Mapping[str, object]) -> list[_Finding]:
    if len(fields) > MAX_FIELDS:
        raise InvalidAttestation(f"Expected at most {MAX_FIELDS} fields, got {len(fields)}.")
    findings: list[_Finding] = []
    for name, value in fields.items():
        plain = re.sub("[-_]", "", name[:64]).lower()
        if plain in _NESTED_FIELDS and isinstance(value, Mapping):
            inner = {key: entry for key, entry in value.items() if not isinstance(entry, Mapping)}
            findings.extend(_findings_of_fields(inner))
        elif value is not None and value != "":
            finding = _field(plain, name, value)
            if finding is not None:
                findings.append(finding)
    return findings


def _field(plain: str, name: str, value: object) -> _Finding | None:
    """Read one field by its plain name; None where the field isn't about attestation."""
    known = _LEVEL_FIELDS | _ORIGID_FIELDS | _VERSTAT_FIELDS | _PLIVO_FIELDS | _ADDRESS_FIELDS
    if plain not in known:
        return None
    if not isinstance(value, str) or len(value) > MAX_TEXT_CHARS:
        raise InvalidAttestation(f"Expected '{name}' as a string of at most {MAX_TEXT_CHARS} characters.")
    text = value.strip()
    if plain in _ADDRESS_FIELDS:
        return _address(text) if _VERSTAT_PARAMETER.search(text) else None
    if plain in _ORIGID_FIELDS:
        if not 0 < len(text) <= MAX_ORIGID_CHARS:
            raise InvalidAttestation(
                f"Expected '{name}' of 1 to {MAX_ORIGID_CHARS} characters, got {len(text)}."
            )
        return _Finding(origid=text)
    if plain in _LEVEL_FIELDS and text.upper() in Level.__members__:
        return _Finding(level=Level(text.upper()))
    if plain in _PLIVO_FIELDS:
        finding = _plivo(text)
        if finding is not None:
            return finding
    if _VERSTAT.fullmatch(text):
        return _verstat(text)
    raise InvalidAttestation(f"Expected A, B, C or a verstat value in '{name}', got another text.")


def _verstat(text: str) -> _Finding:
    match = _VERSTAT.fullmatch(text)
    if match is None:
        raise InvalidAttestation(
            "Expected verstat as TN-Validation-Passed, TN-Validation-Failed (with -A, -B or -C at will) or "
            "No-TN-Validation, got another text."
        )
    if match["none"]:
        verification = Verification.NOT_DONE
    elif match["result"].lower() == "passed":
        verification = Verification.PASSED
    else:
        verification = Verification.FAILED
    level = Level(match["level"].upper()) if match["level"] else None
    notes = (match["path"].lower(),) if match["path"] else ()
    return _Finding(level, verification, None, notes)


def _address(text: str) -> _Finding:
    """Read the verstat parameter of a ``P-Asserted-Identity`` or ``From`` value."""
    match = _VERSTAT_PARAMETER.search(text)
    if match is None:
        raise InvalidAttestation("Expected ';verstat=' in the address, got none.")
    finding = _verstat(match["verstat"])
    if finding.level is None and finding.verification is Verification.PASSED and _TELNYX_URI.search(text):
        # Telnyx writes -B and -C, and leaves -A out; with others the bare value says nothing of the level.
        return _Finding(Level.A, Verification.PASSED, None, (*finding.notes, "level_by_telnyx_default"))
    return finding


def _plivo(text: str) -> _Finding | None:
    """Read Plivo's three words; None for any other text."""
    words = re.sub(r"[\s_]+", " ", text).lower()
    if words == "verified":
        return _Finding(Level.A, Verification.PASSED)
    if words == "not verified":
        # B, C or no valid signature: Plivo doesn't say which.
        return _Finding(None, Verification.UNKNOWN, None, ("not_level_a",))
    if words == "not applicable":
        return _Finding(None, Verification.NOT_DONE)
    return None


def _merge(findings: list[_Finding]) -> Attestation:
    """Bring together what several fields say: the more cautious one wins, and a note says they differed."""
    notes = [note for finding in findings for note in finding.notes]
    levels = {finding.level for finding in findings if finding.level is not None}
    if len(levels) > 1:
        notes.append("levels_differ")
    said = {finding.verification for finding in findings if finding.verification is not None}
    if len(said) > 1:
        notes.append("verifications_differ")
    caution = (Verification.FAILED, Verification.NOT_DONE, Verification.UNKNOWN, Verification.PASSED)
    return Attestation(
        level=max(levels, default=None),
        verification=min(said, key=caution.index, default=Verification.UNKNOWN),
        origid=next((finding.origid for finding in findings if finding.origid is not None), None),
        notes=tuple(dict.fromkeys(notes)),
    )
