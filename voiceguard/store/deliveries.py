"""Deliveries as their carrier sees them: what was tried, what came of it, and once more by hand."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import sqlalchemy as sa

from voiceguard.store import schema
from voiceguard.store.engine import writing
from voiceguard.store.outbox import State

KEEP = dt.timedelta(days=30)
"""How long an event that is done with stays in the list of deliveries."""

_events, _deliveries, _attempts = schema.outbox.c, schema.deliveries.c, schema.delivery_attempts.c


@dataclass(frozen=True)
class Attempt:
    """A past attempt as the list of deliveries shows it."""

    attempted_at: dt.datetime
    duration_s: float
    status: int | None
    error: str | None


@dataclass(frozen=True)
class Delivery:
    """One event on its way to one endpoint."""

    seq: int
    id: str
    event_id: str
    endpoint_id: str
    type: str
    state: State
    created_at: dt.datetime
    delivered_at: dt.datetime | None
    next_attempt_at: dt.datetime | None
    attempts: tuple[Attempt, ...]
    """Oldest first."""


def replay(connection: sa.Connection, delivery_id: str, *, endpoint_id: str, now: dt.datetime) -> bool:
    """Make a delivery due now, with its whole schedule before it; False if the endpoint has no such one.

    The event keeps its id: a receiver that had it drops it, as after any retry.
    """
    done = connection.execute(
        sa.update(schema.deliveries)
        .where(_deliveries.id == delivery_id, _deliveries.endpoint_id == endpoint_id)
        .values(
            state=State.PENDING,
            attempts=0,
            next_attempt_at=now,
            delivered_at=None,
            lease=None,
            leased_until=None,
        )
    )
    return done.rowcount > 0


def page(
    connection: sa.Connection,
    endpoint_id: str,
    *,
    state: State | None = None,
    before_seq: int | None = None,
    delivery_id: str | None = None,
    limit: int,
) -> list[Delivery]:
    """Return up to ``limit`` of an endpoint's deliveries, latest first, before ``before_seq``."""
    query = (
        sa.select(schema.deliveries, _events.type)
        .join(schema.outbox, _events.id == _deliveries.event_id)
        .where(_deliveries.endpoint_id == endpoint_id)
        .order_by(_deliveries.seq.desc())
        .limit(limit)
    )
    for value, condition in (
        (state, _deliveries.state == state),
        (delivery_id, _deliveries.id == delivery_id),
    ):
        if value is not None:
            query = query.where(condition)
    if before_seq is not None:
        query = query.where(_deliveries.seq < before_seq)
    rows = connection.execute(query).all()
    attempts: dict[str, list[Attempt]] = {row.id: [] for row in rows}
    for row in connection.execute(
        sa.select(schema.delivery_attempts).where(_attempts.delivery_id.in_(attempts)).order_by(_attempts.seq)
    ):
        attempts[row.delivery_id].append(Attempt(row.attempted_at, row.duration_s, row.status, row.error))
    return [
        Delivery(
            seq=row.seq,
            id=row.id,
            event_id=row.event_id,
            endpoint_id=row.endpoint_id,
            type=row.type,
            state=State(row.state),
            created_at=row.created_at,
            delivered_at=row.delivered_at,
            next_attempt_at=row.next_attempt_at,
            attempts=tuple(attempts[row.id]),
        )
        for row in rows
    ]


def backlog(connection: sa.Connection) -> int:
    """Return how many deliveries are pending."""
    query = sa.select(sa.func.count()).where(_deliveries.state == State.PENDING)
    return connection.execute(query).scalar_one()


def tidy(engine: sa.Engine, now: dt.datetime) -> int:
    """Delete events older than `KEEP` of which nothing is pending; return how many."""
    with writing(engine) as connection:
        pending = sa.exists().where(_deliveries.event_id == _events.id, _deliveries.state == State.PENDING)
        done = connection.execute(sa.delete(schema.outbox).where(_events.created_at < now - KEEP, ~pending))
        return done.rowcount
