"""Deletion: calls whose time is over, and recordings without a call. A tombstone says what was there."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, fields

import sqlalchemy as sa

from voiceguard.store import audit, campaigns, schema
from voiceguard.store.audit import Act, Action
from voiceguard.store.engine import reading, writing
from voiceguard.store.recordings import Recordings

_BATCH = 200
ORPHAN_AGE = dt.timedelta(days=1)
"""How long a recording without a call is left alone: its request may be on the way, or be retried."""


def expire(
    engine: sa.Engine, recordings: Recordings, retention_days: Mapping[str, int], now: dt.datetime
) -> int:
    """Delete the calls older than ``retention_days`` allows for their verdict; return how many.

    A call that is held, because an open case needs it, stays.
    """
    deleted = 0
    calls, screenings = schema.calls.c, schema.screenings.c
    for verdict, days in retention_days.items():
        query = (
            sa.select(calls.id)
            .join(schema.screenings)
            .where(
                screenings.verdict == verdict,
                calls.received_at < now - dt.timedelta(days=days),
                calls.held.is_(False),
            )
            .order_by(calls.seq)
            .limit(_BATCH)
        )
        while True:
            with reading(engine) as connection:
                ids = connection.scalars(query).all()
            done = sum(
                delete_call(
                    engine, recordings, call_id, actor="retention", reason=f"{verdict} after {days} days"
                )
                for call_id in ids
            )
            deleted += done
            if done < _BATCH:  # fewer also where others hold or delete the rest at this moment
                break
    return deleted


def delete_call(engine: sa.Engine, recordings: Recordings, call_id: str, *, actor: str, reason: str) -> bool:
    """Delete one call, and its recording if no other call has the same; leave a tombstone.

    Return False if there is no such call or it is held.
    """
    calls, screenings = schema.calls.c, schema.screenings.c
    with writing(engine) as connection:
        row = connection.execute(
            sa.select(
                calls.seq,
                calls.carrier_id,
                calls.recording_sha256,
                calls.campaign_id,
                calls.started_at,
                calls.received_at,
                screenings.verdict,
            )
            .join(schema.screenings)
            .where(calls.id == call_id, calls.held.is_(False))
            .with_for_update()
        ).one_or_none()
        if row is None:
            return False
        # Whoever stores a call with the same recording now waits for this lock, then finds it gone.
        connection.execute(
            sa.select(schema.recordings.c.sha256)
            .where(schema.recordings.c.sha256 == row.recording_sha256)
            .with_for_update()
        )
        connection.execute(sa.delete(schema.screenings).where(screenings.call_seq == row.seq))
        connection.execute(sa.delete(schema.calls).where(calls.seq == row.seq))
        connection.execute(sa.delete(schema.idempotency).where(schema.idempotency.c.call_id == call_id))
        shared = connection.scalar(
            sa.select(sa.exists().where(calls.recording_sha256 == row.recording_sha256))
        )
        if not shared:
            campaigns.forget_recording(connection, row.recording_sha256)
        campaigns.forget_call(
            connection, campaign_id=row.campaign_id, carrier_id=row.carrier_id, started_at=row.started_at
        )
        connection.execute(
            sa.insert(schema.tombstones).values(
                call_id=call_id,
                carrier_id=row.carrier_id,
                recording_sha256=row.recording_sha256,
                recording_deleted=not shared,
                verdict=row.verdict,
                received_at=row.received_at,
                actor=actor,
                reason=reason,
            )
        )
        if not shared:
            connection.execute(
                sa.delete(schema.recordings).where(schema.recordings.c.sha256 == row.recording_sha256)
            )
            # Inside: if the process dies before the commit, the next round deletes the call again; the other
            # way round the recording would outlive its tombstone.
            recordings.delete(row.recording_sha256)
        said = {
            "carrier_id": row.carrier_id,
            "recording_sha256": row.recording_sha256,
            "recording_deleted": not shared,
            "reason": reason,
        }
        audit.append(connection, Act(actor, Action.CALL_DELETED, call_id, said))
    return True


def remove_orphans(engine: sa.Engine, recordings: Recordings, now: dt.datetime) -> int:
    """Delete recordings that a request stored but whose call was never committed; return how many."""
    removed = 0
    table = schema.recordings
    for sha256, stored_at in recordings.walk():
        if now - stored_at < ORPHAN_AGE:
            continue
        with reading(engine) as connection:
            if connection.scalar(sa.select(sa.exists().where(table.c.sha256 == sha256))):
                continue
        try:
            with writing(engine) as connection:
                # A row of our own for a moment: who stores this recording now waits, then finds it gone.
                connection.execute(
                    sa.insert(table).values(
                        sha256=sha256, size_bytes=0, container="", codec="", rate_hz=0, duration_s=0.0
                    )
                )
                recordings.delete(sha256)
                connection.execute(sa.delete(table).where(table.c.sha256 == sha256))
        except sa.exc.IntegrityError:
            continue  # a call has just claimed it
        removed += 1
    return removed


@dataclass(frozen=True)
class Tombstone:
    """What is left of a deleted call."""

    call_id: str
    recording_sha256: str
    recording_deleted: bool
    deleted_at: dt.datetime
    actor: str
    reason: str


def tombstone(connection: sa.Connection, call_id: str, *, carrier_id: str | None = None) -> Tombstone | None:
    """Return a deleted call's tombstone; None if there is none, or not of this carrier."""
    table = schema.tombstones.c
    query = sa.select(*(table[field.name] for field in fields(Tombstone))).where(table.call_id == call_id)
    if carrier_id is not None:
        query = query.where(table.carrier_id == carrier_id)
    row = connection.execute(query).one_or_none()
    return Tombstone(**row._asdict()) if row else None
