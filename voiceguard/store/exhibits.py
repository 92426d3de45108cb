"""The calls of a case or a notice: which ones a notice may speak of, and which ones stand for all of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from voiceguard.store import cases, notices, schema
from voiceguard.verdict import Verdict

MOST_CALLS = 20_000
"""Calls of a case that are looked at, the latest ones."""
_CHUNK = 500
_calls, _screenings, _reviews = schema.calls.c, schema.screenings.c, schema.reviews.c


@dataclass(frozen=True)
class CaseCall:
    """A call with what a notice or an export says of it."""

    id: str
    started_at: dt.datetime
    caller: str | None
    callee: str | None
    carrier_id: str
    carrier: str
    carrier_call_id: str | None
    upstream_provider: str | None
    attestation: dict[str, Any] | None
    campaign_id: str | None
    recording_sha256: str
    verdict: Verdict
    score: float | None
    campaign_verdict: Verdict | None
    outcome: str | None
    """Of its review."""

    @property
    def level(self) -> str | None:
        """Attestation level, as claimed."""
        return (self.attestation or {}).get("level")

    @property
    def origid(self) -> str | None:
        """SHAKEN origid."""
        return (self.attestation or {}).get("origid")

    @property
    def appears_synthetic(self) -> bool:
        """Whether a notice may say so: flagged or confirmed, by itself or with its campaign; not dismissed."""
        if self.outcome is not None:
            return self.outcome == "confirmed"
        return Verdict.SYNTHETIC in (self.verdict, self.campaign_verdict)


def of_case(connection: sa.Connection, case_seq: int) -> list[CaseCall]:
    """Return the calls of a case, first one first; of more than `MOST_CALLS` the latest."""
    return _read(connection, cases.in_case(connection, case_seq))


def of_notice(connection: sa.Connection, notice: notices.Notice) -> list[CaseCall]:
    """Return the calls that a notice is about, first one first; deleted ones are gone."""
    return by_id(connection, notice.call_ids)


def by_id(connection: sa.Connection, call_ids: Collection[str]) -> list[CaseCall]:
    """Return calls by their ids, first one first."""
    wanted, found = list(call_ids), []
    for start in range(0, len(wanted), _CHUNK):  # SQLite takes so many parameters only
        found += _read(connection, _calls.id.in_(wanted[start : start + _CHUNK]))
    return sorted(found, key=lambda one: (one.started_at, one.id))


def exemplars(calls: Iterable[CaseCall], most: int) -> list[CaseCall]:
    """Return one call for each recording, the strongest first: they stand for all others in a package."""
    best: dict[str, CaseCall] = {}
    for one in calls:
        best.setdefault(one.recording_sha256, one)
    return sorted(best.values(), key=lambda one: -(one.score if one.score is not None else -1e9))[:most]


def _read(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> list[CaseCall]:
    query = (
        sa.select(
            _calls.id,
            _calls.started_at,
            _calls.caller,
            _calls.callee,
            _calls.carrier_id,
            schema.carriers.c.name.label("carrier"),
            _calls.carrier_call_id,
            _calls.upstream_provider,
            _calls.attestation,
            _calls.campaign_id,
            _calls.recording_sha256,
            _screenings.verdict,
            _screenings.score,
            schema.campaigns.c.verdict.label("campaign_verdict"),
            _reviews.outcome,
        )
        .join_from(schema.calls, schema.screenings)
        .join(schema.carriers, schema.carriers.c.id == _calls.carrier_id)
        .outerjoin(schema.campaigns, schema.campaigns.c.id == _calls.campaign_id)
        .outerjoin(schema.reviews, _reviews.call_seq == _calls.seq)
        .where(condition)
        .order_by(_calls.started_at.desc(), _calls.id.desc())
        .limit(MOST_CALLS)
    )
    rows = connection.execute(query).all()
    return [
        CaseCall(
            **{
                **row._asdict(),
                "verdict": Verdict(row.verdict),
                "campaign_verdict": Verdict(row.campaign_verdict) if row.campaign_verdict else None,
            }
        )
        for row in reversed(rows)
    ]
