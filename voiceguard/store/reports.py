"""Calls that a provider drew the agency's attention to, and what became of them."""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from voiceguard.store import case_schema, cases, schema

_reports = case_schema.reports.c


class Progress(enum.StrEnum):
    """What became of a report."""

    RECEIVED = "received"
    """The call waits for a reviewer."""
    CONFIRMED = "confirmed"
    """A reviewer found that the voice is synthetic."""
    DISMISSED = "dismissed"
    """A reviewer found that it is not, or can't be told."""
    IN_CASE = "in_case"
    CLOSED = "closed"
    """Its case is closed; the outcome says how."""


@dataclass(frozen=True)
class Report:
    """A report as the database knows it."""

    seq: int
    id: str
    carrier_id: str
    carrier: str
    call_id: str
    note: str
    urgent: bool
    created_at: dt.datetime
    progress: Progress
    outcome: str | None
    """Of the closed case."""


def insert(
    connection: sa.Connection, *, carrier_id: str, call_id: str, note: str, urgent: bool, now: dt.datetime
) -> tuple[str, bool]:
    """Write a report; return its id, and whether it is new: a call is reported once."""
    known = connection.scalar(sa.select(_reports.id).where(_reports.call_id == call_id))
    if known is not None:
        return known, False
    report_id = schema.new_id("report")
    connection.execute(
        sa.insert(case_schema.reports).values(
            id=report_id, carrier_id=carrier_id, call_id=call_id, note=note, urgent=urgent, created_at=now
        )
    )
    return report_id, True


def get(connection: sa.Connection, report_id: str, *, carrier_id: str | None = None) -> Report | None:
    """Return a report; None if there is none, or not of this carrier."""
    query = _query().where(_reports.id == report_id)
    if carrier_id is not None:
        query = query.where(_reports.carrier_id == carrier_id)
    row = connection.execute(query).one_or_none()
    return _report(connection, row) if row else None


def page(
    connection: sa.Connection, *, carrier_id: str | None = None, before_seq: int | None = None, limit: int
) -> list[Report]:
    """Return up to ``limit`` reports, latest first, of one carrier if one is given."""
    query = _query()
    if carrier_id is not None:
        query = query.where(_reports.carrier_id == carrier_id)
    if before_seq is not None:
        query = query.where(_reports.seq < before_seq)
    rows = connection.execute(query.order_by(_reports.seq.desc()).limit(limit)).all()
    return [_report(connection, row) for row in rows]


def _query() -> sa.Select[Any]:
    return (
        sa.select(
            case_schema.reports,
            schema.carriers.c.name.label("carrier"),
            schema.calls.c.campaign_id,
            schema.reviews.c.outcome.label("review"),
        )
        .join(schema.carriers, schema.carriers.c.id == _reports.carrier_id)
        .outerjoin(schema.calls, schema.calls.c.id == _reports.call_id)
        .outerjoin(schema.reviews, schema.reviews.c.call_seq == schema.calls.c.seq)
    )


def _report(connection: sa.Connection, row: sa.Row[Any]) -> Report:
    values = row._asdict()
    review, campaign_id = values.pop("review"), values.pop("campaign_id")
    found = cases.of_object(connection, row.call_id, *([campaign_id] if campaign_id else []))
    progress, outcome = (Progress(review) if review else Progress.RECEIVED), None
    if found:
        live = [one for one in found if one.state is not cases.State.CLOSED]
        progress = Progress.IN_CASE if live else Progress.CLOSED
        outcome = None if live else found[0].outcome
    return Report(**values, progress=progress, outcome=outcome)
