"""Events that must reach a carrier's endpoints, whatever happens to the process that caused them.

`enqueue` writes an event and one delivery for each endpoint that wants it, in the transaction of what it tells
of. A sender then claims deliveries that are due: a claim is a lease, so that what a killed sender held comes
free by itself, and no two senders hold the same one. Each delivery is made at least once; the event's id, the
``webhook-id`` that receivers see, stays the same, so they can drop what comes twice.
"""

from __future__ import annotations

import datetime as dt
import enum
import json
import random
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from voiceguard.store import audit, schema
from voiceguard.store.audit import Act, Action
from voiceguard.store.engine import reading, writing

MAX_DATA_BYTES = 19_000
"""Most bytes of an event's data as JSON: with its envelope it stays under the 20 kB of Standard Webhooks."""
LEASE = dt.timedelta(seconds=60)
"""How long a sender has for what it claimed; a request to an endpoint takes less."""
RETRY_AFTER_S = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
"""Seconds from each failed attempt to the next one. The first attempt is made at once: ten in some 75 hours."""
JITTER = 0.2
"""A delay is stretched by up to this share, so that what failed together doesn't come back together."""
MAX_RETRY_AFTER_S = 86_400.0
"""Longest ``Retry-After`` that an endpoint can ask for."""

_events, _deliveries, _endpoints = schema.outbox.c, schema.deliveries.c, schema.webhook_endpoints.c
_ENABLED = sa.select(_endpoints.id, _endpoints.events).where(
    _endpoints.carrier_id == sa.bindparam("carrier"), _endpoints.disabled_at.is_(None)
)


class EventType(enum.StrEnum):
    """What is told to carriers."""

    CALL_SCREENED = "call.screened"
    """A call was screened, whatever the verdict."""
    CALL_FLAGGED = "call.flagged"
    """A call's verdict is ``synthetic``."""
    CAMPAIGN_GROWN = "campaign.grown"
    """A campaign with calls of the carrier has reached a set size."""
    STREAM_VERDICT = "stream.verdict"
    """A live call has a verdict before its end."""
    NOTICE_SENT = "notice.sent"
    """A notice to the carrier as a provider went out."""
    NOTICE_REMINDED = "notice.reminded"
    """A notice waits for an answer, or is late."""
    TEST = "webhook.test"
    """The carrier asked for a trial of one endpoint."""


class State(enum.StrEnum):
    """How far a delivery has come."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True)
class Claim:
    """A delivery that this sender holds until its lease ends, and all it needs to make it."""

    delivery_id: str
    endpoint_id: str
    event_id: str
    lease: str
    attempts: int
    """Failed attempts before this one."""
    url: str
    secrets: tuple[str, ...]
    """The endpoint's secret, then the one before it while that still signs."""
    body: bytes


@dataclass(frozen=True)
class Outcome:
    """What came of one attempt."""

    attempted_at: dt.datetime
    duration_s: float
    status: int | None = None
    """HTTP status, None without an answer."""
    error: str | None = None
    """Why it counts as failed, None if it doesn't; a stable word."""
    retry_after_s: float | None = None
    """What the endpoint asked for."""

    @property
    def gone(self) -> bool:
        """Whether the endpoint said that it wants no more events."""
        return self.status == 410


def enqueue(
    connection: sa.Connection,
    event_type: EventType,
    carrier_id: str,
    data: Mapping[str, Any],
    *,
    now: dt.datetime | None = None,
    endpoint_id: str | None = None,
) -> str | None:
    """Write an event for a carrier's endpoints in the caller's transaction.

    Parameters
    ----------
    connection
        Of a transaction that writes, best the one that makes the event true.
    event_type
        What happened. Endpoints name the types they want; a `EventType.TEST` needs ``endpoint_id``.
    carrier_id
        Whose endpoints.
    data
        JSON object, thin: ids and verdicts that the receiver looks up, no phone numbers.
    now
        When it happened; by default this moment.
    endpoint_id
        The only endpoint to send it to, whatever types it wants.

    Returns
    -------
    str or None
        The event's id; None if no enabled endpoint wants it, and nothing was written.
    """
    size_bytes = len(json.dumps(data, separators=(",", ":"), allow_nan=False).encode())
    if size_bytes > MAX_DATA_BYTES:
        raise ValueError(f"expected data of at most {MAX_DATA_BYTES} bytes, got {size_bytes}")
    moment = now or dt.datetime.now(dt.UTC)
    wanting = [
        row.id
        for row in connection.execute(_ENABLED, {"carrier": carrier_id})
        if (event_type in row.events if endpoint_id is None else row.id == endpoint_id)
    ]
    if not wanting:
        return None
    event_id = schema.new_id("event")
    connection.execute(
        sa.insert(schema.outbox).values(
            id=event_id, type=event_type, carrier_id=carrier_id, data=dict(data), created_at=moment
        )
    )
    connection.execute(
        sa.insert(schema.deliveries),
        [
            {
                "event_id": event_id,
                "endpoint_id": wanted,
                "state": State.PENDING,
                "next_attempt_at": moment,
                "created_at": moment,
            }
            for wanted in wanting
        ],
    )
    return event_id


def claim(
    engine: sa.Engine, now: dt.datetime, *, room: Mapping[str, int], limit: int, each: int
) -> list[Claim]:
    """Take deliveries that are due, oldest first within each endpoint.

    Parameters
    ----------
    engine
        The database. Where nothing is due, it is only read.
    now
        The present.
    room
        By endpoint id, how many more it may have at once; for endpoints that are not named, ``each``. One slow
        endpoint so holds up itself alone.
    limit
        Most deliveries to take.
    each
        Most deliveries that one endpoint may have at once.
    """
    due = (
        _deliveries.state == State.PENDING,
        _deliveries.next_attempt_at <= now,
        sa.or_(_deliveries.leased_until.is_(None), _deliveries.leased_until <= now),
    )
    with reading(engine) as connection:
        full = [endpoint for endpoint, free in room.items() if free <= 0]
        waiting = connection.scalars(
            sa.select(_endpoints.id)
            .where(
                _endpoints.disabled_at.is_(None),
                _endpoints.id.not_in(full),
                sa.exists().where(_deliveries.endpoint_id == _endpoints.id, *due),
            )
            .limit(limit)
        ).all()
    if not waiting:
        return []
    lease = secrets.token_hex(16)
    claims: list[Claim] = []
    with writing(engine) as connection:
        for endpoint_id in waiting:
            take = min(limit - len(claims), room.get(endpoint_id, each))
            if take <= 0:
                break
            # SQLite has one writer at a time and ignores FOR UPDATE.
            free = (
                sa.select(_deliveries.seq)
                .where(_deliveries.endpoint_id == endpoint_id, *due)
                .order_by(_deliveries.next_attempt_at)
                .limit(take)
                .with_for_update(skip_locked=True)
            )
            taken = connection.scalars(
                sa.update(schema.deliveries)
                .where(_deliveries.seq.in_(connection.scalars(free).all()))
                .values(lease=lease, leased_until=now + LEASE)
                .returning(_deliveries.seq)
            ).all()
            claims.extend(_claims(connection, taken, now))
    return claims


def _claims(connection: sa.Connection, taken: Any, now: dt.datetime) -> list[Claim]:
    query = (
        sa.select(
            schema.deliveries,
            _endpoints.url,
            _endpoints.secret,
            _endpoints.previous_secret,
            _endpoints.previous_secret_until,
            _events.type,
            _events.data,
            _events.created_at.label("event_at"),
        )
        .join(schema.webhook_endpoints, _endpoints.id == _deliveries.endpoint_id)
        .join(schema.outbox, _events.id == _deliveries.event_id)
        .where(_deliveries.seq.in_(taken))
        .order_by(_deliveries.next_attempt_at)
    )
    return [
        Claim(
            delivery_id=row.id,
            endpoint_id=row.endpoint_id,
            event_id=row.event_id,
            lease=row.lease,
            attempts=row.attempts,
            url=row.url,
            secrets=(row.secret, row.previous_secret)
            if row.previous_secret is not None and now < row.previous_secret_until
            else (row.secret,),
            body=_body(row.type, row.event_at, row.data),
        )
        for row in connection.execute(query)
    ]


def _body(event_type: str, at: dt.datetime, data: Mapping[str, Any]) -> bytes:
    """Return the payload of Standard Webhooks: the same bytes at every attempt."""
    timestamp = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    payload = {"type": event_type, "timestamp": timestamp, "data": data}
    # PostgreSQL doesn't keep the order of members.
    return json.dumps(payload, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()


def record(engine: sa.Engine, claim: Claim, outcome: Outcome, rng: random.Random) -> State:
    """Note what came of an attempt and when the next one is due; return the delivery's state.

    A delivery that succeeded counts even if its lease had run out; one that failed doesn't change what another
    sender holds by now. Where the endpoint is gone (410), it is disabled and what waited for it has failed.
    """
    finished_at = outcome.attempted_at + dt.timedelta(seconds=outcome.duration_s)
    with writing(engine) as connection:
        if outcome.gone:
            # Before the delivery's row: two senders that hear 410 at once must not wait for each other.
            connection.execute(
                sa.select(_endpoints.seq)
                .where(_endpoints.id == claim.endpoint_id)
                .with_for_update(key_share=True)
            )
        found = sa.select(_deliveries.seq).where(_deliveries.id == claim.delivery_id).with_for_update()
        if connection.execute(found).first() is None:
            return State.FAILED  # the endpoint was deleted meanwhile, and its deliveries with it
        connection.execute(
            sa.insert(schema.delivery_attempts).values(
                delivery_id=claim.delivery_id,
                attempted_at=outcome.attempted_at,
                duration_s=outcome.duration_s,
                status=outcome.status,
                error=outcome.error,
            )
        )
        mine = sa.update(schema.deliveries).where(_deliveries.id == claim.delivery_id)
        if outcome.error is None:
            connection.execute(
                mine.values(
                    state=State.DELIVERED,
                    delivered_at=finished_at,
                    attempts=claim.attempts + 1,
                    next_attempt_at=None,
                    lease=None,
                    leased_until=None,
                )
            )
            return State.DELIVERED
        delay_s = None if outcome.gone else next_delay_s(claim.attempts, outcome.retry_after_s, rng)
        state = State.FAILED if delay_s is None else State.PENDING
        connection.execute(
            mine.where(_deliveries.lease == claim.lease).values(
                state=state,
                attempts=claim.attempts + 1,
                next_attempt_at=None if delay_s is None else finished_at + dt.timedelta(seconds=delay_s),
                lease=None,
                leased_until=None,
            )
        )
        disabled = outcome.gone and _disable(connection, claim.endpoint_id, finished_at)
        current = sa.select(_deliveries.state).where(_deliveries.id == claim.delivery_id)
        left = State(connection.execute(current).scalar_one())
        if disabled:
            said = {"reason": "answered 410 Gone"}
            audit.append(connection, Act("voiceguard", Action.WEBHOOK_DISABLED, claim.endpoint_id, said))
        return left


def next_delay_s(attempts: int, retry_after_s: float | None, rng: random.Random) -> float | None:
    """Return the seconds until the next attempt after ``attempts`` + 1 have failed; None if that was the last."""
    if attempts >= len(RETRY_AFTER_S):
        return None
    delay_s = RETRY_AFTER_S[attempts] * (1.0 + rng.uniform(0.0, JITTER))
    asked_s = min(max(retry_after_s or 0.0, 0.0), MAX_RETRY_AFTER_S)
    return max(delay_s, asked_s)


def _disable(connection: sa.Connection, endpoint_id: str, at: dt.datetime) -> bool:
    done = connection.execute(
        sa.update(schema.webhook_endpoints)
        .where(_endpoints.id == endpoint_id, _endpoints.disabled_at.is_(None))
        .values(disabled_at=at, disabled_reason="answered 410 Gone")
    )
    connection.execute(
        sa.update(schema.deliveries)
        .where(_deliveries.endpoint_id == endpoint_id, _deliveries.state == State.PENDING)
        .values(state=State.FAILED, next_attempt_at=None, lease=None, leased_until=None)
    )
    return done.rowcount > 0
