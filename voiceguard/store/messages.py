"""Mails and pages that must go out, whatever happens to the process that caused them.

A message is written in the transaction of what it tells of, and what it is for is unique: no act queues it
twice. A sender claims what is due, as the webhooks' outbox does. A mail can't be taken back nor told apart by
its receiver, so a mail has one more state: just before its text is handed over the sender commits ``handing``.
What a killed sender left ``pending`` never went out and is tried again by itself; what it left ``handing`` may
have gone out, so it becomes ``uncertain`` and a person decides (`again`). A page by webhook carries its id in
``webhook-id`` and is simply sent again.
"""

from __future__ import annotations

import datetime as dt
import enum
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from voiceguard.store.case_schema import messages, notices
from voiceguard.store.engine import INSERTS, reading, writing
from voiceguard.store.schema import new_id

LEASE = dt.timedelta(seconds=120)
"""How long a sender has for what it claimed; an attempt takes less."""
RETRY_AFTER_S = (10.0, 60.0, 300.0, 900.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0, 28_800.0)
"""Seconds from each failed attempt to the next one: ten attempts in some 16 hours."""
_table = messages.c


class Channel(enum.StrEnum):
    """How a message goes out."""

    EMAIL = "email"
    WEBHOOK = "webhook"


class State(enum.StrEnum):
    """How far a message has come."""

    PENDING = "pending"
    HANDING = "handing"
    """A mail is being handed over at this moment."""
    SENT = "sent"
    FAILED = "failed"
    UNCERTAIN = "uncertain"
    """A sender died while it handed a mail over: it may have gone out, or not."""


@dataclass(frozen=True)
class NewMessage:
    """A message to send."""

    purpose: str
    """What it is for; a second one for the same is not written."""
    channel: Channel
    address: str
    subject: str
    body: str
    secret: str | None = None
    """That signs a webhook."""
    notice_seq: int | None = None


@dataclass(frozen=True)
class Message(NewMessage):
    """A message as the database knows it."""

    seq: int = 0
    id: str = ""
    state: State = State.PENDING
    attempts: int = 0
    created_at: dt.datetime = dt.datetime.min
    next_attempt_at: dt.datetime | None = None
    leased_until: dt.datetime | None = None
    lease: str | None = None
    sent_at: dt.datetime | None = None
    error: str | None = None


def enqueue(connection: sa.Connection, new: NewMessage, *, now: dt.datetime) -> bool:
    """Write a message in the caller's transaction; False if there is one for the same purpose."""
    insert = INSERTS[connection.dialect.name]
    statement = insert(messages).values(
        id=new_id("message"),
        purpose=new.purpose,
        channel=new.channel.value,
        address=new.address,
        subject=new.subject[:200],
        body=new.body,
        secret=new.secret,
        notice_seq=new.notice_seq,
        state=State.PENDING.value,
        attempts=0,
        created_at=now,
        next_attempt_at=now,
    )
    return connection.execute(statement.on_conflict_do_nothing()).rowcount > 0


def claim(
    engine: sa.Engine, now: dt.datetime, *, limit: int, channels: Sequence[Channel] = tuple(Channel)
) -> list[Message]:
    """Take messages that are due, oldest first; first say of dead senders' mails that they are uncertain."""
    free = sa.or_(_table.leased_until.is_(None), _table.leased_until <= now)
    due = sa.and_(
        _table.state == State.PENDING, _table.next_attempt_at <= now, free, _table.channel.in_(channels)
    )
    left = sa.and_(_table.state == State.HANDING, _table.leased_until <= now)
    with reading(engine) as connection:
        if connection.scalar(sa.select(sa.exists().where(sa.or_(due, left)))) is not True:
            return []
    lease = secrets.token_hex(16)
    with writing(engine) as connection:
        connection.execute(
            sa.update(messages)
            .where(left)
            .values(state=State.UNCERTAIN, lease=None, leased_until=None, error="interrupted")
        )
        chosen = (
            sa.select(_table.seq)
            .where(due)
            .order_by(_table.next_attempt_at, _table.seq)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        taken = connection.execute(
            sa.update(messages)
            .where(_table.seq.in_(connection.scalars(chosen).all()))
            .values(lease=lease, leased_until=now + LEASE)
            .returning(messages)
        ).all()
    return sorted((_message(row) for row in taken), key=lambda one: one.seq)


def hand_over(engine: sa.Engine, message: Message, now: dt.datetime) -> bool:
    """Commit that a mail's text goes out now; False if the lease is no longer this sender's."""
    with writing(engine) as connection:
        done = connection.execute(
            sa.update(messages)
            .where(_table.seq == message.seq, _table.lease == message.lease, _table.state == State.PENDING)
            .values(state=State.HANDING, leased_until=now + LEASE)
        )
    return done.rowcount > 0


def record(
    engine: sa.Engine,
    message: Message,
    now: dt.datetime,
    *,
    error: str | None = None,
    final: bool = False,
    uncertain: bool = False,
) -> State:
    """Note what came of an attempt.

    Parameters
    ----------
    engine, message, now
        The database, what was tried, and when.
    error
        Why it failed; None if it didn't.
    final
        Whether another attempt would fail too, such as at an address that does not exist.
    uncertain
        Whether it may have gone out all the same.
    """
    delay_s = RETRY_AFTER_S[message.attempts] if message.attempts < len(RETRY_AFTER_S) else None
    values: dict[str, Any] = {"attempts": message.attempts + 1, "lease": None, "leased_until": None}
    if error is None:
        values |= {"state": State.SENT, "sent_at": now, "next_attempt_at": None, "error": None}
    elif uncertain:
        values |= {"state": State.UNCERTAIN, "next_attempt_at": None, "error": error[:200]}
    elif final or delay_s is None:
        values |= {"state": State.FAILED, "next_attempt_at": None, "error": error[:200]}
    else:
        due = now + dt.timedelta(seconds=delay_s)
        values |= {"state": State.PENDING, "next_attempt_at": due, "error": error[:200]}
    with writing(engine) as connection:
        connection.execute(
            sa.update(messages)
            .where(_table.seq == message.seq, _table.lease == message.lease)
            .values(**values)
        )
    return State(values["state"])


def again(connection: sa.Connection, message_id: str, *, now: dt.datetime) -> Message | None:
    """Make a message that failed or is uncertain due now; None if there is no such one."""
    row = connection.execute(
        sa.update(messages)
        .where(_table.id == message_id, _table.state.in_([State.FAILED, State.UNCERTAIN]))
        .values(state=State.PENDING, attempts=0, next_attempt_at=now, error=None)
        .returning(messages)
    ).one_or_none()
    return _message(row) if row else None


def of_notice(connection: sa.Connection, notice_seq: int) -> list[Message]:
    """Return what was sent, or waits to be sent, for a notice, first one first."""
    query = sa.select(messages).where(_table.notice_seq == notice_seq).order_by(_table.seq)
    return [_message(row) for row in connection.execute(query)]


def stuck(connection: sa.Connection, *, limit: int) -> list[tuple[Message, str | None]]:
    """Return the latest messages that need a person, with their notices' ids."""
    query = (
        sa.select(messages, notices.c.id.label("notice_id"))
        .outerjoin(notices, notices.c.seq == _table.notice_seq)
        .where(_table.state.in_([State.FAILED, State.UNCERTAIN]))
        .order_by(_table.seq.desc())
        .limit(limit)
    )
    return [(_message(row), row.notice_id) for row in connection.execute(query)]


def _message(row: sa.Row[Any]) -> Message:
    values = row._asdict()
    values.pop("notice_id", None)
    return Message(**dict(values, channel=Channel(row.channel), state=State(row.state)))
