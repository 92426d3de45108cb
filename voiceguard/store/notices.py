"""Notices to providers and the templates that they are made from."""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from voiceguard.store import case_schema, schema
from voiceguard.store.case_schema import notice_templates, notices, providers

_notices, _templates, _providers = notices.c, notice_templates.c, providers.c


class Kind(enum.StrEnum):
    """What a notice asks for."""

    TRACEBACK = "traceback"
    """Who handed these calls over?"""
    CEASE_AND_DESIST = "cease_and_desist"
    PRESERVATION = "preservation"
    """Keep what you have on these calls."""
    TAKEDOWN = "takedown"
    """Close this number or account."""


class State(enum.StrEnum):
    """How far a notice has come."""

    DRAFT = "draft"
    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"
    ANSWERED = "answered"
    DISPUTED = "disputed"
    WITHDRAWN = "withdrawn"


WAITING = (State.SENT, State.ACKNOWLEDGED)
"""States in which the provider owes an answer, and the clock runs."""
OUT = tuple(state for state in State if state is not State.DRAFT)
"""What the provider sees."""


@dataclass(frozen=True)
class Template:
    """One version of a template; never changed."""

    kind: Kind
    version: int
    subject: str
    body: str
    author: str
    created_at: dt.datetime


@dataclass(frozen=True)
class NewNotice:
    """A notice to write."""

    case_seq: int
    kind: Kind
    provider_id: str
    template_version: int
    subject: str
    body: str
    call_ids: tuple[str, ...]
    urgent: bool
    hours: float
    parent_seq: int | None = None


@dataclass(frozen=True)
class Notice(NewNotice):
    """A notice as the database knows it."""

    seq: int = 0
    id: str = ""
    number: str = ""
    state: State = State.DRAFT
    created_at: dt.datetime = dt.datetime.min
    sent_at: dt.datetime | None = None
    due_at: dt.datetime | None = None
    acknowledged_at: dt.datetime | None = None
    answered_at: dt.datetime | None = None
    answer: dict[str, Any] | None = None
    step: int = 0
    next_step_at: dt.datetime | None = None
    provider: str = ""
    """Its name."""
    case_id: str = ""
    case_number: str = ""

    @property
    def waiting(self) -> bool:
        """Whether the provider owes an answer."""
        return self.state in WAITING

    def late(self, now: dt.datetime) -> bool:
        """Say whether the answer is overdue."""
        return self.waiting and self.due_at is not None and now >= self.due_at


def insert(connection: sa.Connection, new: NewNotice, *, now: dt.datetime) -> Notice:
    """Write a draft; its number follows the case's."""
    number = connection.scalar(
        sa.select(case_schema.cases.c.number)
        .where(case_schema.cases.c.seq == new.case_seq)
        .with_for_update()  # one notice of a case after the other: they are numbered without gaps
    )
    count = connection.scalar(
        sa.select(sa.func.count()).select_from(notices).where(_notices.case_seq == new.case_seq)
    )
    notice_id = schema.new_id("notice")
    connection.execute(
        sa.insert(notices).values(
            id=notice_id,
            case_seq=new.case_seq,
            number=f"{number}-N{(count or 0) + 1}",
            kind=new.kind.value,
            provider_id=new.provider_id,
            template_version=new.template_version,
            subject=new.subject,
            body=new.body,
            call_ids=list(new.call_ids),
            state=State.DRAFT.value,
            urgent=new.urgent,
            hours=new.hours,
            parent_seq=new.parent_seq,
            created_at=now,
        )
    )
    found = get(connection, notice_id)
    assert found is not None
    return found


def update(connection: sa.Connection, notice: Notice, **values: Any) -> None:
    """Change fields of a notice."""
    connection.execute(sa.update(notices).where(_notices.seq == notice.seq).values(**values))


def get(
    connection: sa.Connection, notice_id: str, *, carrier_id: str | None = None, lock: bool = False
) -> Notice | None:
    """Return a notice; with a carrier, only one that went out to the provider whose keys are the carrier's.

    ``lock`` keeps others from changing it until the transaction ends.
    """
    if lock:
        connection.execute(sa.select(_notices.seq).where(_notices.id == notice_id).with_for_update())
    query = _query().where(_notices.id == notice_id)
    if carrier_id is not None:
        query = query.where(*_theirs(carrier_id))
    row = connection.execute(query).one_or_none()
    return _notice(row) if row else None


def by_seq(connection: sa.Connection, seq: int) -> Notice | None:
    """Return the notice of this row."""
    row = connection.execute(_query().where(_notices.seq == seq)).one_or_none()
    return _notice(row) if row else None


def of_case(connection: sa.Connection, case_seq: int) -> list[Notice]:
    """Return a case's notices in the order in which they were drafted."""
    query = _query().where(_notices.case_seq == case_seq).order_by(_notices.seq)
    return [_notice(row) for row in connection.execute(query)]


def page(
    connection: sa.Connection,
    *,
    carrier_id: str | None = None,
    state: State | None = None,
    before_seq: int | None = None,
    limit: int,
) -> list[Notice]:
    """Return up to ``limit`` notices that went out, latest first; of one carrier if one is given."""
    query = _query().where(_notices.state.in_(OUT))
    if carrier_id is not None:
        query = query.where(*_theirs(carrier_id))
    if state is not None:
        query = query.where(_notices.state == state)
    if before_seq is not None:
        query = query.where(_notices.seq < before_seq)
    return [_notice(row) for row in connection.execute(query.order_by(_notices.seq.desc()).limit(limit))]


def waiting(connection: sa.Connection, *, limit: int) -> list[Notice]:
    """Return the notices whose clock runs, the one that is due first foremost."""
    query = _query().where(_notices.state.in_(WAITING)).order_by(_notices.due_at, _notices.seq)
    return [_notice(row) for row in connection.execute(query.limit(limit))]


def due_steps(connection: sa.Connection, now: dt.datetime, *, limit: int) -> list[str]:
    """Return the ids of notices whose clock has something to do now."""
    query = sa.select(_notices.id).where(_notices.next_step_at <= now)
    return list(connection.scalars(query.order_by(_notices.next_step_at).limit(limit)))


def templates(connection: sa.Connection) -> list[Template]:
    """Return every version of every template, the newest of each kind first."""
    query = sa.select(notice_templates).order_by(_templates.kind, _templates.version.desc())
    return [_template(row) for row in connection.execute(query)]


def template(connection: sa.Connection, kind: Kind, version: int | None = None) -> Template | None:
    """Return a version of a template, by default the newest."""
    query = sa.select(notice_templates).where(_templates.kind == kind)
    if version is not None:
        query = query.where(_templates.version == version)
    row = connection.execute(query.order_by(_templates.version.desc()).limit(1)).one_or_none()
    return _template(row) if row else None


def add_template(connection: sa.Connection, new: Template) -> None:
    """Write a version of a template."""
    connection.execute(
        sa.insert(notice_templates).values(
            kind=new.kind.value,
            version=new.version,
            subject=new.subject,
            body=new.body,
            author=new.author,
            created_at=new.created_at,
        )
    )


def _theirs(carrier_id: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (_providers.carrier_id == carrier_id, _notices.state.in_(OUT))


def _query() -> sa.Select[Any]:
    return (
        sa.select(
            notices,
            _providers.name.label("provider"),
            case_schema.cases.c.id.label("case_id"),
            case_schema.cases.c.number.label("case_number"),
        )
        .join(providers, _providers.id == _notices.provider_id)
        .join(case_schema.cases, case_schema.cases.c.seq == _notices.case_seq)
    )


def _notice(row: sa.Row[Any]) -> Notice:
    values = row._asdict()
    values |= {"kind": Kind(row.kind), "state": State(row.state), "call_ids": tuple(row.call_ids)}
    return Notice(**values)


def _template(row: sa.Row[Any]) -> Template:
    return Template(**dict(row._asdict(), kind=Kind(row.kind)))
