"""The rows of campaigns: counted call by call, recounted whenever calls or recordings leave.

What joins what is decided in `voiceguard.enforcement`; here it is written down, in the caller's transaction.
Locks are taken in one order everywhere (calls, recordings, `serialise`, fingerprints, campaigns), so
transactions wait for each other but not in a circle.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa

from voiceguard.fingerprint import VERSION, Fingerprint
from voiceguard.store import schema, similar
from voiceguard.store.engine import INSERTS

MOST_INDEXED = 24
"""So many copies of one campaign are in the look-up index before only those with something new are added."""
_LOCK = 0x63616D70  # any number, but the same in all processes

_T = TypeVar("_T")
_campaigns, _prints = schema.campaigns.c, schema.fingerprints.c


@dataclass(frozen=True)
class Evidence:
    """What a copy says of its audio."""

    quality: float
    """0–1, see `voiceguard.enforcement.pooling`."""
    verdict: str
    reason: str | None
    score: float | None
    model: str


@dataclass(frozen=True)
class Print:
    """A stored fingerprint, without its bytes."""

    seq: int
    campaign_seq: int | None
    announcement_seq: int | None
    indexed: bool
    model: str | None


@dataclass(frozen=True)
class Size:
    """How large a campaign is after a call was counted."""

    seq: int
    id: str
    calls: int
    told_size: int


# What every call that joins a campaign runs is built once: to build a statement takes as long as to run it.
_PRINT_OF = sa.select(*(_prints[name] for name in Print.__dataclass_fields__)).where(
    _prints.recording_sha256 == sa.bindparam("sha256"), _prints.channel == sa.bindparam("channel")
)
_PRINT_OF_LOCKED = _PRINT_OF.with_for_update(read=True)
_STILL_THERE = (
    sa.select(*(_prints[name] for name in Print.__dataclass_fields__))
    .where(_prints.seq.in_(sa.bindparam("seqs", expanding=True)))
    .order_by(_prints.seq)
    .with_for_update(read=True)
)
_INSERT_PRINT = sa.insert(schema.fingerprints).returning(_prints.seq)
_THIS_CAMPAIGN = _campaigns.seq == sa.bindparam("campaign")
_COUNT_INDEXED = sa.update(schema.campaigns).where(_THIS_CAMPAIGN).values(indexed=_campaigns.indexed + 1)
_STARTED = sa.bindparam("started", type_=_campaigns.first_seen_at.type)
_COUNT_CALL = (
    sa.update(schema.campaigns)
    .where(_THIS_CAMPAIGN)
    .values(
        calls=_campaigns.calls + 1,
        first_seen_at=sa.case(
            (_campaigns.first_seen_at < _STARTED, _campaigns.first_seen_at), else_=_STARTED
        ),
        last_seen_at=sa.case((_campaigns.last_seen_at > _STARTED, _campaigns.last_seen_at), else_=_STARTED),
    )
    .returning(*(_campaigns[name] for name in Size.__dataclass_fields__))
)
_carriers = schema.campaign_carriers.c
_COUNT_FOR_CARRIER = {
    name: insert(schema.campaign_carriers).on_conflict_do_update(
        index_elements=[_carriers.carrier_id, _carriers.campaign_seq], set_={"calls": _carriers.calls + 1}
    )
    for name, insert in INSERTS.items()
}
_OFFER_BEST = (
    sa.update(schema.campaigns)
    .where(
        _THIS_CAMPAIGN,
        sa.or_(
            _campaigns.best_quality.is_(None),
            _campaigns.best_quality < sa.bindparam("best_quality", type_=_campaigns.best_quality.type),
        ),
    )
    .values(
        {name: sa.bindparam(name) for name in ("best_print", "best_quality", "verdict", "reason", "score")}
    )
)


def serialise(connection: sa.Connection) -> None:
    """Wait until no other transaction adds fingerprints or moves them between campaigns.

    SQLite has one writer anyway. On PostgreSQL the lock goes with the transaction, after its commit is seen.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})


def resolve(connection: sa.Connection, campaign_id: str) -> tuple[int, str] | None:
    """Return the number and id of a campaign, of the surviving one if it was merged; None if there is none."""
    survivor = schema.campaigns.alias()
    row = connection.execute(
        sa.select(
            sa.func.coalesce(survivor.c.seq, _campaigns.seq), sa.func.coalesce(survivor.c.id, _campaigns.id)
        )
        .select_from(schema.campaigns.outerjoin(survivor, survivor.c.seq == _campaigns.merged_into))
        .where(_campaigns.id == campaign_id)
    ).one_or_none()
    return (row[0], row[1]) if row else None


def print_of(connection: sa.Connection, sha256: str, channel: int, *, lock: bool = False) -> Print | None:
    """Return the fingerprint of a recording's channel; with ``lock`` it stays in its campaign till the end."""
    row = connection.execute(
        _PRINT_OF_LOCKED if lock else _PRINT_OF, {"sha256": sha256, "channel": channel}
    ).one_or_none()
    return Print(*row) if row else None


def still_there(connection: sa.Connection, seqs: Collection[int]) -> dict[int, Print]:
    """Return which of the fingerprints exist and where they belong now; they stay there till the end."""
    return {row.seq: Print(*row) for row in connection.execute(_STILL_THERE, {"seqs": list(seqs)})}


def new(connection: sa.Connection, *, now: dt.datetime) -> tuple[int, str]:
    """Write a campaign without calls; return its number and id."""
    row = connection.execute(
        sa.insert(schema.campaigns).values(created_at=now).returning(_campaigns.seq, _campaigns.id)
    ).one()
    return row.seq, row.id


def add_print(
    connection: sa.Connection,
    print_: Fingerprint,
    *,
    sha256: str | None,
    channel: int,
    evidence: Evidence | None,
    campaign_seq: int | None,
    announcement_seq: int | None,
    indexed: bool,
) -> int:
    """Store a fingerprint and, if ``indexed``, its keys; return its number."""
    said = (
        {"quality": 0.0}
        if evidence is None
        else {name: getattr(evidence, name) for name in Evidence.__dataclass_fields__}
    )
    seq: int = connection.execute(
        _INSERT_PRINT,
        {
            "recording_sha256": sha256,
            "channel": channel,
            "version": VERSION,
            "campaign_seq": campaign_seq,
            "announcement_seq": announcement_seq,
            "indexed": indexed,
            "speech_s": print_.speech_s,
            "data": print_.to_bytes(),
            **said,
        },
    ).scalar_one()
    if indexed:
        similar.add(connection, seq, print_)
    if campaign_seq is not None and evidence is not None:
        if indexed:
            connection.execute(_COUNT_INDEXED, {"campaign": campaign_seq})
        _offer_best(connection, campaign_seq, seq, evidence)
    return seq


def say_anew(connection: sa.Connection, print_: Print, evidence: Evidence) -> None:
    """Note what another detector says of a recording that is known."""
    values = {name: getattr(evidence, name) for name in Evidence.__dataclass_fields__}
    connection.execute(sa.update(schema.fingerprints).where(_prints.seq == print_.seq).values(**values))
    if print_.campaign_seq is not None:
        _choose_best(connection, print_.campaign_seq)


def count_call(
    connection: sa.Connection, campaign_seq: int, *, carrier_id: str, started_at: dt.datetime
) -> Size:
    """Count one more call of a campaign."""
    row = connection.execute(_COUNT_CALL, {"campaign": campaign_seq, "started": started_at}).one()
    connection.execute(
        _COUNT_FOR_CARRIER[connection.dialect.name],
        {"carrier_id": carrier_id, "campaign_seq": campaign_seq, "calls": 1},
    )
    return Size(*row)


def forget_call(
    connection: sa.Connection, *, campaign_id: str | None, carrier_id: str, started_at: dt.datetime
) -> None:
    """Take a call that was just deleted out of its campaign's numbers."""
    if campaign_id is None:
        return
    row = connection.execute(
        sa.update(schema.campaigns)
        .where(_campaigns.id == campaign_id)
        .values(calls=_campaigns.calls - 1)
        .returning(_campaigns.seq, _campaigns.first_seen_at, _campaigns.last_seen_at)
    ).one()
    if started_at in (row.first_seen_at, row.last_seen_at):
        _see_again(connection, row.seq, campaign_id)
    table = schema.campaign_carriers
    mine = sa.and_(table.c.campaign_seq == row.seq, table.c.carrier_id == carrier_id)
    connection.execute(sa.update(table).where(mine).values(calls=table.c.calls - 1))
    connection.execute(sa.delete(table).where(mine, table.c.calls == 0))


def forget_recording(connection: sa.Connection, sha256: str) -> None:
    """Delete the fingerprints of a recording that is being deleted, and their part of the index."""
    rows = connection.execute(
        sa.select(schema.fingerprints).where(_prints.recording_sha256 == sha256).with_for_update()
    ).all()
    for row in rows:
        if row.indexed and row.version == VERSION:
            similar.remove(connection, row.seq, Fingerprint.from_bytes(row.data))
        connection.execute(sa.delete(schema.fingerprints).where(_prints.seq == row.seq))
        if row.campaign_seq is None:
            continue
        best = connection.scalar(sa.select(_campaigns.best_print).where(_campaigns.seq == row.campaign_seq))
        if best == row.seq:
            _choose_best(connection, row.campaign_seq)
        if row.indexed:
            index_best(connection, row.campaign_seq)


def move_prints(connection: sa.Connection, seqs: Collection[int], campaign_seq: int | None) -> None:
    """Put fingerprints into a campaign, or into none; `recount` both campaigns afterwards."""
    for some in batches(sorted(seqs)):
        connection.execute(
            sa.update(schema.fingerprints).where(_prints.seq.in_(some)).values(campaign_seq=campaign_seq)
        )


def recount(connection: sa.Connection, campaign_seq: int) -> Size:
    """Count a campaign anew from its calls and copies, after some came or went."""
    campaign_id = connection.scalar(sa.select(_campaigns.id).where(_campaigns.seq == campaign_seq))
    assert campaign_id is not None
    table, calls = schema.campaign_carriers, schema.calls.c
    connection.execute(sa.delete(table).where(table.c.campaign_seq == campaign_seq))
    connection.execute(
        sa.insert(table).from_select(
            ["carrier_id", "campaign_seq", "calls"],
            sa.select(calls.carrier_id, sa.literal(campaign_seq), sa.func.count())
            .where(calls.campaign_id == campaign_id)
            .group_by(calls.carrier_id),
        )
    )
    counted = sa.select(sa.func.coalesce(sa.func.sum(table.c.calls), 0)).where(
        table.c.campaign_seq == campaign_seq
    )
    connection.execute(
        sa.update(schema.campaigns)
        .where(_campaigns.seq == campaign_seq)
        .values(calls=counted.scalar_subquery())
    )
    _see_again(connection, campaign_seq, campaign_id)
    _choose_best(connection, campaign_seq)
    index_best(connection, campaign_seq)
    row = connection.execute(
        sa.select(*(_campaigns[name] for name in Size.__dataclass_fields__)).where(
            _campaigns.seq == campaign_seq
        )
    ).one()
    return Size(**row._asdict())


def index_best(connection: sa.Connection, campaign_seq: int) -> None:
    """Fill the campaign's share of the index up with its best copies that are not in it; count the share."""
    indexed = connection.scalar(
        sa.select(sa.func.count()).where(_prints.campaign_seq == campaign_seq, _prints.indexed)
    )
    rows = connection.execute(
        sa.select(_prints.seq, _prints.data)
        .where(_prints.campaign_seq == campaign_seq, ~_prints.indexed, _prints.version == VERSION)
        .order_by(_prints.quality.desc())
        .limit(max(MOST_INDEXED - (indexed or 0), 0))
    ).all()
    for row in rows:
        similar.add(connection, row.seq, Fingerprint.from_bytes(row.data))
        connection.execute(sa.update(schema.fingerprints).where(_prints.seq == row.seq).values(indexed=True))
    connection.execute(
        sa.update(schema.campaigns)
        .where(_campaigns.seq == campaign_seq)
        .values(indexed=(indexed or 0) + len(rows))
    )


def apart(connection: sa.Connection, seqs: Collection[int]) -> set[frozenset[int]]:
    """Return the pairs among these campaigns that a reviewer has split."""
    table = schema.campaigns_apart.c
    query = sa.select(table.low_seq, table.high_seq).where(table.low_seq.in_(seqs), table.high_seq.in_(seqs))
    return {frozenset(row) for row in connection.execute(query)}


def set_apart(connection: sa.Connection, one: int, other: int) -> None:
    """Keep two campaigns from ever being joined by a call."""
    insert = INSERTS[connection.dialect.name]
    connection.execute(
        insert(schema.campaigns_apart)
        .values(low_seq=min(one, other), high_seq=max(one, other))
        .on_conflict_do_nothing()
    )


def apart_from(connection: sa.Connection, campaign_seq: int) -> list[int]:
    """Return the campaigns that a reviewer has split from this one."""
    table = schema.campaigns_apart.c
    rows = connection.execute(
        sa.select(table.low_seq, table.high_seq).where(
            sa.or_(table.low_seq == campaign_seq, table.high_seq == campaign_seq)
        )
    )
    return [row.high_seq if row.low_seq == campaign_seq else row.low_seq for row in rows]


def together_again(connection: sa.Connection, seqs: Collection[int]) -> None:
    """Forget the splits among these campaigns: a reviewer merges them."""
    table = schema.campaigns_apart
    connection.execute(sa.delete(table).where(table.c.low_seq.in_(seqs), table.c.high_seq.in_(seqs)))


def note(
    connection: sa.Connection,
    campaign_seq: int,
    *,
    action: str,
    actor: str,
    reason: str,
    at: dt.datetime,
    other_seq: int | None = None,
    detail: dict[str, Any] | None = None,
) -> None:
    """Write a line of a campaign's history."""
    connection.execute(
        sa.insert(schema.campaign_history).values(
            campaign_seq=campaign_seq,
            other_seq=other_seq,
            at=at,
            actor=actor,
            action=action,
            reason=reason,
            detail=detail,
        )
    )


def _offer_best(connection: sa.Connection, campaign_seq: int, print_seq: int, evidence: Evidence) -> None:
    connection.execute(
        _OFFER_BEST,
        {
            "campaign": campaign_seq,
            "best_print": print_seq,
            "best_quality": evidence.quality,
            "verdict": evidence.verdict,
            "reason": evidence.reason,
            "score": evidence.score,
        },
    )


def _choose_best(connection: sa.Connection, campaign_seq: int) -> None:
    best = connection.execute(
        sa.select(_prints.seq, _prints.quality, _prints.verdict, _prints.reason, _prints.score)
        .where(_prints.campaign_seq == campaign_seq)
        .order_by(_prints.quality.desc(), _prints.seq)
        .limit(1)
    ).one_or_none()
    connection.execute(
        sa.update(schema.campaigns)
        .where(_campaigns.seq == campaign_seq)
        .values(
            best_print=best.seq if best else None,
            best_quality=best.quality if best else None,
            verdict=best.verdict if best else None,
            reason=best.reason if best else None,
            score=best.score if best else None,
        )
    )


def _see_again(connection: sa.Connection, campaign_seq: int, campaign_id: str) -> None:
    calls = schema.calls.c
    # Two statements: each is one step in the index, both in one would read every call.
    first = sa.select(sa.func.min(calls.started_at)).where(calls.campaign_id == campaign_id)
    last = sa.select(sa.func.max(calls.started_at)).where(calls.campaign_id == campaign_id)
    connection.execute(
        sa.update(schema.campaigns)
        .where(_campaigns.seq == campaign_seq)
        .values(first_seen_at=first.scalar_subquery(), last_seen_at=last.scalar_subquery())
    )


def batches(values: list[_T], size: int = 500) -> Iterable[list[_T]]:
    """Cut a list into pieces that fit into a statement."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
