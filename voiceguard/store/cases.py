"""Cases: what enforcement builds of calls and campaigns. Every act leaves a line that nobody can change.

`note` writes an act into the case's own history and into the audit log; the database refuses to change either.
Calls of an open case are held: retention passes them over (`hold`).
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from voiceguard.store import audit, campaigns, case_schema, schema
from voiceguard.store.audit import Act, Action

_cases, _members = case_schema.cases.c, case_schema.case_members.c
_calls, _history = schema.calls.c, case_schema.case_history.c


class State(enum.StrEnum):
    """Where a case stands."""

    OPEN = "open"
    NOTICED = "noticed"
    """A notice is out."""
    ANSWERED = "answered"
    """Every notice that is out was answered or disputed."""
    CLOSED = "closed"


@dataclass(frozen=True)
class Case:
    """A case."""

    seq: int
    id: str
    number: str
    title: str
    state: State
    outcome: str | None
    owner_id: str | None
    opened_at: dt.datetime
    changed_at: dt.datetime
    closed_at: dt.datetime | None
    imported_from: str | None


@dataclass(frozen=True)
class Member:
    """A call or a campaign of a case."""

    kind: str
    object_id: str
    added_at: dt.datetime


@dataclass(frozen=True)
class Listed:
    """A case as the list shows it."""

    case: Case
    owner: str | None
    members: int
    open_tasks: int
    notices: int
    waiting: int
    """Notices that wait for an answer."""
    next_due_at: dt.datetime | None
    """When the first of these is due."""


@dataclass(frozen=True)
class Event:
    """A line of a case's history."""

    seq: int
    at: dt.datetime
    actor: str
    action: str
    detail: dict[str, Any]


def insert(
    connection: sa.Connection,
    title: str,
    *,
    owner_id: str | None,
    now: dt.datetime,
    imported_from: str | None = None,
) -> Case:
    """Write a new case; its number is of this year."""
    case_id = schema.new_id("case")
    seq = connection.execute(
        sa.insert(case_schema.cases)
        .values(
            id=case_id,
            number=case_id[-32:],
            title=title,
            state=State.OPEN.value,
            owner_id=owner_id,
            opened_at=now,
            changed_at=now,
            imported_from=imported_from,
        )
        .returning(_cases.seq)
    ).scalar_one()
    # From the row's own number: two cases that are opened at once don't wait for each other.
    connection.execute(
        sa.update(case_schema.cases).where(_cases.seq == seq).values(number=f"{now:%Y}-{seq:04}")
    )
    found = get(connection, case_id)
    assert found is not None
    return found


def get(connection: sa.Connection, case_id: str, *, lock: bool = False) -> Case | None:
    """Return the case with this id; ``lock`` keeps others from changing it until the transaction ends."""
    return _one(connection, _cases.id == case_id, lock=lock)


def numbered(connection: sa.Connection, number: str) -> Case | None:
    """Return the case of this number."""
    return _one(connection, _cases.number == number.strip(), lock=False)


def by_seq(connection: sa.Connection, seq: int, *, lock: bool = False) -> Case:
    """Return the case of this row, which is there."""
    found = _one(connection, _cases.seq == seq, lock=lock)
    assert found is not None, "a notice's case is never deleted"
    return found


def _one(connection: sa.Connection, condition: sa.ColumnElement[bool], *, lock: bool) -> Case | None:
    query = sa.select(case_schema.cases).where(condition)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    return _case(row) if row else None


def update(connection: sa.Connection, case: Case, *, now: dt.datetime, **values: Any) -> None:
    """Change fields of a case."""
    connection.execute(
        sa.update(case_schema.cases).where(_cases.seq == case.seq).values(changed_at=now, **values)
    )


def page(
    connection: sa.Connection,
    *,
    state: State | None,
    owner_id: str | None = None,
    before_seq: int | None = None,
    limit: int,
) -> list[Listed]:
    """Return up to ``limit`` cases, latest first, before ``before_seq``; state None is every state."""
    notices, tasks = case_schema.notices.c, case_schema.case_tasks.c
    waiting = sa.and_(notices.case_seq == _cases.seq, notices.state.in_(["sent", "acknowledged"]))

    def _count(table: sa.Table, *conditions: Any) -> Any:
        return sa.select(sa.func.count()).select_from(table).where(*conditions).scalar_subquery()

    query = sa.select(
        case_schema.cases,
        schema.users.c.name.label("owner"),
        _count(case_schema.case_members, _members.case_seq == _cases.seq).label("members"),
        _count(case_schema.case_tasks, tasks.case_seq == _cases.seq, tasks.done_at.is_(None)).label(
            "open_tasks"
        ),
        _count(case_schema.notices, notices.case_seq == _cases.seq, notices.state != "draft").label("sent"),
        _count(case_schema.notices, waiting).label("waiting"),
        sa.select(sa.func.min(notices.due_at)).where(waiting).scalar_subquery().label("next_due_at"),
    ).outerjoin(schema.users, schema.users.c.id == _cases.owner_id)
    if state is not None:
        query = query.where(_cases.state == state)
    if owner_id is not None:
        query = query.where(_cases.owner_id == owner_id)
    if before_seq is not None:
        query = query.where(_cases.seq < before_seq)
    return [
        Listed(_case(row), row.owner, row.members, row.open_tasks, row.sent, row.waiting, row.next_due_at)
        for row in connection.execute(query.order_by(_cases.seq.desc()).limit(limit))
    ]


def counts(connection: sa.Connection) -> dict[State, int]:
    """Return how many cases stand in each state."""
    query = sa.select(_cases.state, sa.func.count()).group_by(_cases.state)
    return {State(state): count for state, count in connection.execute(query)}


def members(connection: sa.Connection, case_seq: int) -> list[Member]:
    """Return the calls and campaigns that were put into a case, in the order in which they were."""
    query = sa.select(_members.kind, _members.object_id, _members.added_at).where(
        _members.case_seq == case_seq
    )
    rows = connection.execute(query.order_by(_members.added_at, _members.object_id))
    return [Member(*row) for row in rows]


def add_member(
    connection: sa.Connection, case_seq: int, kind: str, object_id: str, *, now: dt.datetime
) -> bool:
    """Put a call or a campaign into a case; False if it is there."""
    there = sa.exists().where(_members.case_seq == case_seq, _members.object_id == object_id)
    if connection.scalar(sa.select(there)):
        return False
    connection.execute(
        sa.insert(case_schema.case_members).values(
            case_seq=case_seq, kind=kind, object_id=object_id, added_at=now
        )
    )
    return True


def remove_member(connection: sa.Connection, case_seq: int, object_id: str) -> bool:
    """Take a call or a campaign out of a case; False if it is not there."""
    done = connection.execute(
        sa.delete(case_schema.case_members).where(
            _members.case_seq == case_seq, _members.object_id == object_id
        )
    )
    return done.rowcount > 0


def of_object(connection: sa.Connection, *object_ids: str) -> list[Case]:
    """Return the cases that a call or a campaign is in, latest first."""
    inside = sa.select(_members.case_seq).where(_members.object_id.in_(object_ids))
    query = sa.select(case_schema.cases).where(_cases.seq.in_(inside)).order_by(_cases.seq.desc())
    return [_case(row) for row in connection.execute(query)]


def in_case(connection: sa.Connection, case_seq: int) -> sa.ColumnElement[bool]:
    """Return the condition that a call is in a case, by itself or by its campaign."""
    found = members(connection, case_seq)
    call_ids = [one.object_id for one in found if one.kind == "call"]
    campaign_ids = []
    for one in found:
        if one.kind == "campaign":
            resolved = campaigns.resolve(connection, one.object_id)
            campaign_ids.append(resolved[1] if resolved else one.object_id)
    # A call of no campaign must be outside, not unknown.
    by_campaign = sa.func.coalesce(_calls.campaign_id.in_(campaign_ids), sa.false())
    return sa.or_(_calls.id.in_(call_ids), by_campaign)


def hold(connection: sa.Connection, case_seq: int) -> None:
    """Hold the calls of a case: retention passes them over."""
    condition = in_case(connection, case_seq)
    connection.execute(sa.update(schema.calls).where(condition, _calls.held.is_(False)).values(held=True))


def hold_all(connection: sa.Connection) -> None:
    """Hold the calls of every open case, those too that joined its campaigns since."""
    for seq in connection.scalars(sa.select(_cases.seq).where(_cases.state != State.CLOSED)).all():
        hold(connection, seq)


def release(connection: sa.Connection, calls: sa.ColumnElement[bool]) -> None:
    """Let calls go that no open case needs any more."""
    live = connection.scalars(sa.select(_cases.seq).where(_cases.state != State.CLOSED)).all()
    needed = sa.or_(sa.false(), *(in_case(connection, seq) for seq in live))
    connection.execute(
        sa.update(schema.calls).where(calls, _calls.held.is_(True), sa.not_(needed)).values(held=False)
    )


def link(connection: sa.Connection, one: int, other: int) -> bool:
    """Link two cases; False if they are."""
    low, high = sorted((one, other))
    table = case_schema.case_links.c
    if connection.scalar(sa.select(sa.exists().where(table.low_seq == low, table.high_seq == high))):
        return False
    connection.execute(sa.insert(case_schema.case_links).values(low_seq=low, high_seq=high))
    return True


def linked(connection: sa.Connection, case_seq: int) -> list[Case]:
    """Return the cases linked with one."""
    table = case_schema.case_links.c
    query = sa.select(case_schema.cases).where(
        sa.or_(
            _cases.seq.in_(sa.select(table.high_seq).where(table.low_seq == case_seq)),
            _cases.seq.in_(sa.select(table.low_seq).where(table.high_seq == case_seq)),
        )
    )
    return [_case(row) for row in connection.execute(query.order_by(_cases.seq))]


def note(
    connection: sa.Connection,
    case: Case,
    *,
    actor: str,
    action: str,
    now: dt.datetime,
    detail: Mapping[str, Any],
    audited: Action = Action.CASE_CHANGED,
    about: str | None = None,
) -> None:
    """Write an act into the case's history and the audit log, as the last thing of the transaction.

    ``about`` is the object of the audit row, by default the case.
    """
    connection.execute(
        sa.insert(case_schema.case_history).values(
            case_seq=case.seq, at=now, actor=actor, action=action, detail=dict(detail)
        )
    )
    said = {"what": action, "case": case.number, **detail}
    audit.append(connection, Act(actor, audited, about or case.id, said))


def history(connection: sa.Connection, case_seq: int) -> list[Event]:
    """Return a case's history, oldest first."""
    query = sa.select(_history.seq, _history.at, _history.actor, _history.action, _history.detail)
    rows = connection.execute(query.where(_history.case_seq == case_seq).order_by(_history.seq))
    return [Event(*row) for row in rows]


def _case(row: sa.Row[Any]) -> Case:
    values = {name: getattr(row, name) for name in Case.__dataclass_fields__}
    return Case(**dict(values, state=State(row.state)))
