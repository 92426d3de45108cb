"""Campaigns as they are listed and read: their numbers over all carriers, or as one carrier may see them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from voiceguard.store import campaigns as rows
from voiceguard.store import schema
from voiceguard.verdict import Reason, Verdict

_campaigns, _prints, _calls = schema.campaigns.c, schema.fingerprints.c, schema.calls.c
_recordings, _carriers = schema.recordings.c, schema.campaign_carriers.c


@dataclass(frozen=True)
class Filter:
    """Which campaigns a page shows; None leaves a field open. Times: from, included; to, not."""

    carrier_id: str | None = None
    """Only campaigns with calls of this carrier."""
    verdict: Verdict | None = None
    least_calls: int = 1
    seen_from: dt.datetime | None = None
    """Seen then or later."""
    seen_to: dt.datetime | None = None
    """Seen before."""
    caller: str | None = None
    """With a call from this number; of the carrier, if one is given."""
    callee: str | None = None


@dataclass(frozen=True)
class Copy:
    """One recording of a campaign."""

    sha256: str
    codec: str
    duration_s: float
    speech_s: float
    quality: float
    verdict: Verdict
    reason: Reason | None
    score: float | None
    model: str
    call_id: str | None
    """A call that carried it, the first; of the carrier, if one asks: None if it has none."""


@dataclass(frozen=True)
class Spread:
    """How the scores of the copies differ."""

    copies: int
    lowest: float | None
    highest: float | None
    mean: float | None


@dataclass(frozen=True)
class Campaign:
    """A campaign with its numbers."""

    seq: int
    id: str
    created_at: dt.datetime
    calls: int
    own_calls: int
    """Of the carrier that asks; all of them if none does."""
    first_seen_at: dt.datetime | None
    last_seen_at: dt.datetime | None
    carriers: int
    callers: int
    callees: int
    attestations: dict[str, int] = field(default_factory=dict)
    """Calls by attestation level; ``none`` stands for those without."""
    verdict: Verdict | None = None
    reason: Reason | None = None
    score: float | None = None
    strongest: Copy | None = None
    """The copy with the best quality, which decides."""
    spread: Spread = Spread(0, None, None, None)
    merged_ids: tuple[str, ...] = ()
    """Campaigns that were merged into this one."""

    @property
    def prerecorded(self) -> bool:
        """Whether the recording was heard in more than one call."""
        return self.calls > 1


@dataclass(frozen=True)
class Event:
    """A line of history."""

    at: dt.datetime
    actor: str
    action: str
    reason: str
    campaign_id: str
    other_id: str | None
    detail: dict[str, Any] | None


def page(connection: sa.Connection, wanted: Filter, *, before_seq: int | None, limit: int) -> list[Campaign]:
    """Return up to ``limit`` campaigns that ``wanted`` lets through, latest first, before ``before_seq``."""
    conditions = [_campaigns.merged_into.is_(None), _campaigns.calls >= max(wanted.least_calls, 1)]
    if wanted.verdict is not None:
        conditions.append(_campaigns.verdict == wanted.verdict)
    if wanted.seen_from is not None:
        conditions.append(_campaigns.last_seen_at >= wanted.seen_from)
    if wanted.seen_to is not None:
        conditions.append(_campaigns.first_seen_at < wanted.seen_to)
    if wanted.carrier_id is not None:
        mine = sa.select(_carriers.campaign_seq).where(_carriers.carrier_id == wanted.carrier_id)
        conditions.append(_campaigns.seq.in_(mine))
    for column, number in ((_calls.caller, wanted.caller), (_calls.callee, wanted.callee)):
        if number is None:
            continue
        with_number = sa.select(_calls.campaign_id).where(column == number, _calls.campaign_id.is_not(None))
        if wanted.carrier_id is not None:
            with_number = with_number.where(_calls.carrier_id == wanted.carrier_id)
        conditions.append(_campaigns.id.in_(with_number))
    if before_seq is not None:
        conditions.append(_campaigns.seq < before_seq)
    query = sa.select(schema.campaigns).where(*conditions).order_by(_campaigns.seq.desc()).limit(limit)
    return _complete(connection, connection.execute(query).all(), wanted.carrier_id)


def get(connection: sa.Connection, campaign_id: str, *, carrier_id: str | None = None) -> Campaign | None:
    """Return a campaign, the surviving one if it was merged; None if none, or none with the carrier's calls."""
    found = rows.resolve(connection, campaign_id)
    if found is None:
        return None
    query = sa.select(schema.campaigns).where(_campaigns.seq == found[0])
    (campaign,) = _complete(connection, connection.execute(query).all(), carrier_id)
    return campaign if carrier_id is None or campaign.own_calls else None


def copies(connection: sa.Connection, campaign_seq: int, *, limit: int) -> list[Copy]:
    """Return a campaign's recordings, the best quality first."""
    query = (
        _copies().where(_prints.campaign_seq == campaign_seq).order_by(_prints.quality.desc(), _prints.seq)
    )
    found = connection.execute(query.limit(limit)).all()
    calls = _first_calls(connection, [row.recording_sha256 for row in found], None)
    return [_copy(row, calls) for row in found]


def history(connection: sa.Connection, campaign_seq: int) -> list[Event]:
    """Return what was done with a campaign and those merged into it, oldest first."""
    table, other = schema.campaign_history.c, schema.campaigns.alias()
    merged = sa.select(_campaigns.seq).where(_campaigns.merged_into == campaign_seq)
    query = (
        sa.select(table.at, table.actor, table.action, table.reason, _campaigns.id, other.c.id, table.detail)
        .join_from(schema.campaign_history, schema.campaigns, _campaigns.seq == table.campaign_seq)
        .outerjoin(other, other.c.seq == table.other_seq)
        .where(
            sa.or_(
                table.campaign_seq == campaign_seq,
                table.other_seq == campaign_seq,
                table.campaign_seq.in_(merged),
            )
        )
        .order_by(table.seq)
    )
    return [Event(*row) for row in connection.execute(query)]


def _complete(
    connection: sa.Connection, found: Sequence[sa.Row[Any]], carrier_id: str | None
) -> list[Campaign]:
    """Add what is counted from calls and copies; one query for each kind of number, whatever the page."""
    if not found:
        return []
    seqs, ids = [row.seq for row in found], [row.id for row in found]
    numbers = {
        row.campaign_id: row
        for row in connection.execute(
            sa.select(
                _calls.campaign_id,
                sa.func.count(sa.distinct(_calls.caller)).label("callers"),
                sa.func.count(sa.distinct(_calls.callee)).label("callees"),
                sa.func.count(sa.distinct(_calls.carrier_id)).label("carriers"),
            )
            .where(_calls.campaign_id.in_(ids))
            .group_by(_calls.campaign_id)
        )
    }
    attestations: dict[str, dict[str, int]] = {one: {} for one in ids}
    for campaign_id, name, count in connection.execute(
        sa.select(_calls.campaign_id, _calls.level, sa.func.count())
        .where(_calls.campaign_id.in_(ids))
        .group_by(_calls.campaign_id, _calls.level)
    ):
        attestations[campaign_id][name] = count
    own: dict[int, int] = {
        row.campaign_seq: row.calls
        for row in connection.execute(
            sa.select(_carriers.campaign_seq, _carriers.calls).where(
                _carriers.campaign_seq.in_(seqs), _carriers.carrier_id == carrier_id
            )
        )
    }
    spreads = {
        row.campaign_seq: Spread(row.copies, row.lowest, row.highest, row.mean)
        for row in connection.execute(
            sa.select(
                _prints.campaign_seq,
                sa.func.count().label("copies"),
                sa.func.min(_prints.score).label("lowest"),
                sa.func.max(_prints.score).label("highest"),
                sa.func.avg(_prints.score).label("mean"),
            )
            .where(_prints.campaign_seq.in_(seqs))
            .group_by(_prints.campaign_seq)
        )
    }
    best = {row.seq: row for row in connection.execute(_copies().where(_prints.seq.in_(_best(found))))}
    calls = _first_calls(connection, [row.recording_sha256 for row in best.values()], carrier_id)
    merged: dict[int, list[str]] = {}
    for survivor, gone in connection.execute(
        sa.select(_campaigns.merged_into, _campaigns.id)
        .where(_campaigns.merged_into.in_(seqs))
        .order_by(_campaigns.seq)
    ):
        merged.setdefault(survivor, []).append(gone)
    return [
        Campaign(
            seq=row.seq,
            id=row.id,
            created_at=row.created_at,
            calls=row.calls,
            own_calls=row.calls if carrier_id is None else own.get(row.seq, 0),
            first_seen_at=row.first_seen_at,
            last_seen_at=row.last_seen_at,
            carriers=numbers[row.id].carriers if row.id in numbers else 0,
            callers=numbers[row.id].callers if row.id in numbers else 0,
            callees=numbers[row.id].callees if row.id in numbers else 0,
            attestations=attestations[row.id],
            verdict=Verdict(row.verdict) if row.verdict else None,
            reason=Reason(row.reason) if row.reason else None,
            score=row.score,
            strongest=_copy(best[row.best_print], calls) if row.best_print in best else None,
            spread=spreads.get(row.seq, Spread(0, None, None, None)),
            merged_ids=tuple(merged.get(row.seq, ())),
        )
        for row in found
    ]


def _best(found: Sequence[sa.Row[Any]]) -> list[int]:
    return [row.best_print for row in found if row.best_print is not None]


def _copies() -> sa.Select[Any]:
    return sa.select(
        _prints.seq,
        _prints.recording_sha256,
        _prints.speech_s,
        _prints.quality,
        _prints.verdict,
        _prints.reason,
        _prints.score,
        _prints.model,
        _recordings.codec,
        _recordings.duration_s,
    ).join_from(schema.fingerprints, schema.recordings)


def _copy(row: sa.Row[Any], calls: dict[str, str]) -> Copy:
    return Copy(
        sha256=row.recording_sha256,
        codec=row.codec,
        duration_s=row.duration_s,
        speech_s=row.speech_s,
        quality=row.quality,
        verdict=Verdict(row.verdict),
        reason=Reason(row.reason) if row.reason else None,
        score=row.score,
        model=row.model,
        call_id=calls.get(row.recording_sha256),
    )


def _first_calls(
    connection: sa.Connection, hashes: Collection[str], carrier_id: str | None
) -> dict[str, str]:
    """Return the first call with each recording, by the recording's SHA-256."""
    first = (
        sa.select(sa.func.min(_calls.seq))
        .where(_calls.recording_sha256.in_(hashes))
        .group_by(_calls.recording_sha256)
    )
    if carrier_id is not None:
        first = first.where(_calls.carrier_id == carrier_id)
    query = sa.select(_calls.recording_sha256, _calls.id).where(_calls.seq.in_(first))
    return {row.recording_sha256: row.id for row in connection.execute(query)}
