"""Lists of calls for a traceback: one row a call, as CSV and JSON.

The fields are those that the US traceback group's guidelines ask for of each call (ITG, Policies and Procedures,
2021; FCC DOC-399306A4, "Incident Data"): when, from and to which number, who ended it, which campaign, why it is
suspected, where the recording is, which number to call back, and what the network vouched for.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from voiceguard.store.exhibits import CaseCall


@dataclass(frozen=True)
class Row:
    """One call; what is not known is empty."""

    call_datetime: str
    """UTC, RFC 3339."""
    calling_tn: str
    """E.164."""
    called_tn: str
    terminating_provider: str
    upstream_provider: str
    campaign_name: str
    reason: str
    """What was found, in words."""
    recording_link: str
    callback_number: str
    """Empty: VoiceGuard writes no transcripts."""
    attestation: str
    """Level that was claimed: A, B or C."""
    verification: str
    """Whether the token's signature held: ``passed``, ``failed``, ``not_done`` or ``unknown``."""
    origid: str
    carrier_call_id: str
    """The terminating provider's own id, such as the SIP Call-ID."""
    call_id: str
    recording_sha256: str


FIELDS = tuple(field.name for field in dataclasses.fields(Row))
_SAID_BY_STRANGERS = frozenset(
    {"terminating_provider", "upstream_provider", "origid", "carrier_call_id", "campaign_name"}
)


def rows(calls: Iterable[CaseCall], link: Callable[[CaseCall], str]) -> list[Row]:
    """Return the rows of some calls.

    Parameters
    ----------
    calls
        In the order of the rows.
    link
        Where a call's recording is found.
    """
    return [
        Row(
            call_datetime=call.started_at.isoformat().replace("+00:00", "Z"),
            calling_tn=call.caller or "",
            called_tn=call.callee or "",
            terminating_provider=call.carrier,
            upstream_provider=call.upstream_provider or "",
            campaign_name=call.campaign_id[9:17] if call.campaign_id else "",
            reason=_reason(call),
            recording_link=link(call),
            callback_number="",
            attestation=call.level or "",
            verification=(call.attestation or {}).get("verification") or "",
            origid=call.origid or "",
            carrier_call_id=call.carrier_call_id or "",
            call_id=call.id,
            recording_sha256=call.recording_sha256,
        )
        for call in calls
    ]


def as_csv(found: Iterable[Row]) -> bytes:
    """Return rows as CSV (RFC 4180, UTF-8) that a spreadsheet opens without running anything."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(FIELDS)
    for row in found:
        writer.writerow([_cell(name, getattr(row, name)) for name in FIELDS])
    return out.getvalue().encode()


def as_json(found: Iterable[Row]) -> bytes:
    """Return rows as a JSON array of objects."""
    return (
        json.dumps([dataclasses.asdict(row) for row in found], indent=1, ensure_ascii=False) + "\n"
    ).encode()


def _cell(name: str, value: str) -> str:
    # A spreadsheet would run what begins like a formula; numbers begin with + and stay as they are.
    return f"'{value}" if name in _SAID_BY_STRANGERS and value[:1] in "=+-@\t\r" and value else value


def _reason(call: CaseCall) -> str:
    if not call.appears_synthetic:
        return ""
    said = "The recording appears to be a synthetic voice"
    if call.outcome == "confirmed":
        return f"{said}; confirmed by a reviewer"
    return f"{said}; score {call.score:+.2f}" if call.score is not None else said
