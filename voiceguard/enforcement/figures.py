"""What came of the calls, over time: what the figures page, its CSV and the API show.

Counts of calls come from the kept figures (`voiceguard.store.figures`), of campaigns and notices from their own
tables. Everything is by UTC day: of receipt for calls, of the first call for campaigns, of sending for notices.
"""

from __future__ import annotations

import datetime as dt
import enum
import statistics
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from voiceguard.store import schema
from voiceguard.store.case_schema import notices, providers
from voiceguard.store.decisions import Why
from voiceguard.store.figures import COUNTED, day_number, day_of
from voiceguard.store.review_schema import figures
from voiceguard.verdict import Verdict

_campaigns, _calls, _reviews = schema.campaigns.c, schema.calls.c, schema.reviews.c
MOST_PROVIDERS = 50
MOST_CAMPAIGNS = 10
MOST_STEPS = 400
"""More bars than that no screen shows."""
_MONTHS = 13
"""By default: the same month of the year before stands beside this one."""


class By(enum.StrEnum):
    """What the lines of a table are."""

    DAY = "day"
    MONTH = "month"
    YEAR = "year"
    PROVIDER = "provider"
    ATTESTATION = "attestation"
    CAMPAIGN = "campaign"


TIMES = {By.DAY: 1, By.MONTH: 100, By.YEAR: 10_000}
"""By what a day's number is divided to tell the step of time that it lies in."""


@dataclass(frozen=True)
class Period:
    """From a day to a day, both included."""

    first: dt.date
    last: dt.date


@dataclass(frozen=True)
class Counts:
    """What was counted."""

    screened: int = 0
    flagged: int = 0
    confirmed: int = 0
    """Flagged calls that people found synthetic."""
    overturned: int = 0
    """Flagged calls that people dismissed."""
    missed: int = 0
    """Calls that were not flagged and that people found synthetic."""
    campaigns: int | None = None
    """Campaigns of several calls that began then; None where the lines are no steps of time."""
    notices_sent: int | None = None
    notices_answered: int | None = None
    """Of those sent then, whenever the answer came."""
    median_answer_h: float | None = None
    """Median hours from sending to the answer."""


@dataclass(frozen=True)
class Line:
    """One line of a table."""

    name: str
    """The day, month or year in ISO form, the provider, the level, or the campaign's id."""
    counts: Counts


@dataclass(frozen=True)
class Silent:
    """A provider with notices that it has not answered."""

    name: str
    sent: int
    answered: int
    overdue: int
    """Unanswered, and past the time that the provider had."""


def table(connection: sa.Connection, by: By, period: Period, *, carrier_id: str | None = None) -> list[Line]:
    """Return the lines of a table.

    Steps of time come in order, without gaps; providers and campaigns by size, at most `MOST_PROVIDERS` and
    `MOST_CAMPAIGNS`. With ``carrier_id`` only calls of that carrier count, and no notices.
    """
    if by in TIMES:
        return _over_time(connection, by, period, carrier_id)
    if by is By.CAMPAIGN:
        return _campaign_lines(connection, period, carrier_id)
    by_provider, by_level = by_provider_and_level(connection, period, carrier_id=carrier_id)
    return by_provider if by is By.PROVIDER else by_level


def total(connection: sa.Connection, period: Period, lines: list[Line]) -> Counts:
    """Return the counts of a whole period, of which the lines are the parts."""
    counted = {name: sum(getattr(line.counts, name) for line in lines) for name in COUNTED}
    return _with_others(connection, period, None, counted)


def _with_others(
    connection: sa.Connection, period: Period, carrier_id: str | None, counted: dict[str, int]
) -> Counts:
    """Return the counts of calls with those of campaigns and notices."""
    begun = connection.scalar(_begun(period, carrier_id, sa.func.count())) or 0
    if carrier_id is not None:
        return Counts(**counted, campaigns=begun)
    return Counts(
        **counted, campaigns=begun, **_answers([hours for _, hours in _notices(connection, period)])
    )


def silent(connection: sa.Connection, period: Period, now: dt.datetime) -> list[Silent]:
    """Return the providers that left notices of the period unanswered past their time, the most silent first."""
    n = notices.c
    overdue = sa.func.sum(sa.case((sa.and_(n.answered_at.is_(None), n.due_at < now), 1), else_=0))
    query = (
        sa.select(
            providers.c.name,
            sa.func.count().label("sent"),
            sa.func.count(n.answered_at),
            overdue.label("overdue"),
        )
        .join_from(notices, providers)
        .where(*_sent_within(period))
        .group_by(providers.c.name)
        .having(overdue > 0)
        .order_by(sa.desc("overdue"), providers.c.name)
        .limit(MOST_PROVIDERS)
    )
    return [Silent(*row) for row in connection.execute(query)]


@dataclass(frozen=True)
class Compared:
    """What was counted in a period so far, beside the same days before."""

    name: str
    period: Period
    counts: Counts
    before: tuple[tuple[Period, Counts], ...]
    """The same days of the month before and of the year before; of a year, of the year before alone."""


def comparisons(today: dt.date) -> dict[str, tuple[Period, ...]]:
    """Return this month and this year so far, each with what it is held against."""
    month = Period(today.replace(day=1), today)
    last_of_before = month.first - dt.timedelta(days=1)
    a_month = Period(
        last_of_before.replace(day=1), last_of_before.replace(day=min(today.day, last_of_before.day))
    )
    a_year = Period(_year_before(month.first), _year_before(today))
    year = Period(today.replace(month=1, day=1), today)
    return {
        "This month": (month, a_month, a_year),
        "This year": (year, Period(_year_before(year.first), _year_before(today))),
    }


def compared(connection: sa.Connection, today: dt.date) -> list[Compared]:
    """Count this month and this year so far, and the same days before."""
    wanted = comparisons(today)
    first = min(period.first for periods in wanted.values() for period in periods)
    # One reading for all: each month in two, the days up to that of today, and those after it.
    month, late = figures.c.day // 100, sa.case((figures.c.day % 100 > today.day, 1), else_=0)
    query = sa.select(month.label("month"), late.label("late"), *_sums())
    query = query.where(*_within(Period(first, today), None)).group_by("month", "late")
    rows = connection.execute(query).all()

    def _counts(period: Period) -> Counts:
        from_, to = day_number(period.first) // 100, day_number(period.last) // 100
        mine = [row for row in rows if from_ <= row.month < to or (row.month == to and not row.late)]
        counted = {name: sum(int(getattr(row, name)) for row in mine) for name in COUNTED}
        return _with_others(connection, period, None, counted)

    return [
        Compared(name, now, _counts(now), tuple((one, _counts(one)) for one in before))
        for name, (now, *before) in wanted.items()
    ]


def _year_before(day: dt.date) -> dt.date:
    return day.replace(year=day.year - 1, day=28 if (day.month, day.day) == (2, 29) else day.day)


def period_of(first: dt.date | None, last: dt.date | None, by: By, today: dt.date) -> Period:
    """Return the period that was asked for, by default the months up to today.

    Raises
    ------
    ValueError
        It ends before it begins, or has too many steps.
    """
    last = last or today
    if last.year > 9000 or last.year < 1971 or (first is not None and first.year < 1970):
        raise ValueError("expected days from 1970 to 9000")
    if first is None:
        months = last.year * 12 + last.month - _MONTHS
        first = dt.date(months // 12, months % 12 + 1, 1)
        first = max(first, last - dt.timedelta(days=30)) if by is By.DAY else first
    if first > last:
        raise ValueError("expected a period that ends on its first day or later")
    days = (last - first).days + 1
    if days / {By.DAY: 1, By.YEAR: 365}.get(by, 28) > MOST_STEPS:
        raise ValueError(f"expected at most {MOST_STEPS} steps of time; take longer steps")
    return Period(first, last)


def first_day(connection: sa.Connection) -> dt.date | None:
    """Return the first day with a call; None before the first call."""
    number = connection.scalar(sa.select(sa.func.min(figures.c.day)))
    return dt.date(number // 10_000, number // 100 % 100, number % 100) if number else None


def _sums() -> list[sa.ColumnElement[Any]]:
    return [sa.func.sum(figures.c[name]).label(name) for name in COUNTED]


def _within(period: Period, carrier_id: str | None) -> list[sa.ColumnElement[bool]]:
    found = [figures.c.day.between(day_number(period.first), day_number(period.last))]
    return found + ([figures.c.carrier_id == carrier_id] if carrier_id is not None else [])


def _moments(period: Period) -> tuple[dt.datetime, dt.datetime]:
    """Return the first moment of the period, and the first one after it."""
    start = dt.datetime.combine(period.first, dt.time(), dt.UTC)
    return start, dt.datetime.combine(period.last, dt.time(), dt.UTC) + dt.timedelta(days=1)


def _begun(period: Period, carrier_id: str | None, *what: sa.ColumnElement[Any]) -> sa.Select[Any]:
    start, end = _moments(period)
    query = sa.select(*what).where(
        # As written in the index, which holds these alone.
        sa.text("campaigns.calls > 1"),
        _campaigns.first_seen_at >= start,
        _campaigns.first_seen_at < end,
    )
    if carrier_id is not None:
        mine = schema.campaign_carriers.c
        query = query.where(
            sa.exists().where(mine.campaign_seq == _campaigns.seq, mine.carrier_id == carrier_id)
        )
    return query


def _over_time(connection: sa.Connection, by: By, period: Period, carrier_id: str | None) -> list[Line]:
    divisor = TIMES[by]
    step = (figures.c.day // divisor).label("step")
    query = sa.select(step, *_sums()).where(*_within(period, carrier_id)).group_by(step)
    found = {int(row.step): row for row in connection.execute(query)}
    begun_in = (day_of(connection, _campaigns.first_seen_at) // divisor).label("step")
    query = _begun(period, carrier_id, begun_in, sa.func.count()).group_by("step")
    begun = {int(number): count for number, count in connection.execute(query)}
    sent: dict[int, list[float | None]] = defaultdict(list)
    if carrier_id is None:
        for at, hours in _notices(connection, period):
            sent[day_number(at.date()) // divisor].append(hours)
    lines = []
    day = period.first
    while day <= period.last:
        number = day_number(day) // divisor
        row = found.get(number)
        counted = {name: int(getattr(row, name)) for name in COUNTED} if row is not None else {}
        answers = _answers(sent[number]) if carrier_id is None else {}
        lines.append(Line(_step_name(day, by), Counts(**counted, campaigns=begun.get(number, 0), **answers)))
        day = _next_step(day, by)
    return lines


def _step_name(day: dt.date, by: By) -> str:
    return day.isoformat()[: {By.DAY: 10, By.MONTH: 7, By.YEAR: 4}[by]]


def _next_step(day: dt.date, by: By) -> dt.date:
    if by is By.DAY:
        return day + dt.timedelta(days=1)
    return (
        (day.replace(day=28) + dt.timedelta(days=4)).replace(day=1)
        if by is By.MONTH
        else dt.date(day.year + 1, 1, 1)
    )


def by_provider_and_level(
    connection: sa.Connection, period: Period, *, carrier_id: str | None = None
) -> tuple[list[Line], list[Line]]:
    """Return the lines by provider and those by attestation, from one reading."""
    query = (
        sa.select(figures.c.provider, schema.carriers.c.name, figures.c.level, *_sums())
        .join_from(figures, schema.carriers)
        .where(*_within(period, carrier_id))
        .group_by(figures.c.provider, schema.carriers.c.name, figures.c.level)
    )
    providers_: dict[str, list[int]] = defaultdict(lambda: [0] * len(COUNTED))
    levels: dict[str, list[int]] = defaultdict(lambda: [0] * len(COUNTED))
    for row in connection.execute(query):
        # Who says of no provider before it is the first one that is known.
        for sums in (providers_[row.provider or row.name], levels[row.level]):
            for index, counted in enumerate(COUNTED):
                sums[index] += int(getattr(row, counted))
    by_name = [Line(one, Counts(*sums)) for one, sums in providers_.items()]
    by_name.sort(key=lambda line: (-line.counts.flagged, -line.counts.screened, line.name))
    by_level = [Line(one, Counts(*sums)) for one, sums in sorted(levels.items())]
    return by_name[:MOST_PROVIDERS], by_level


def _campaign_lines(connection: sa.Connection, period: Period, carrier_id: str | None) -> list[Line]:
    """Return the largest campaigns that were heard in the period; the counts are of the calls begun in it."""
    start, end = _moments(period)
    chosen = (
        sa.select(_campaigns.id)
        .where(
            _campaigns.calls > 1,
            _campaigns.verdict != Verdict.HUMAN.value,
            _campaigns.last_seen_at >= start,
            _campaigns.first_seen_at < end,
        )
        .order_by(_campaigns.calls.desc(), _campaigns.seq.desc())
        .limit(MOST_CAMPAIGNS)
    )
    if carrier_id is not None:
        mine = schema.campaign_carriers.c
        chosen = chosen.where(
            sa.exists().where(mine.campaign_seq == _campaigns.seq, mine.carrier_id == carrier_id)
        )
    ids = connection.scalars(chosen).all()
    flagged, confirmed = _reviews.why == Why.FLAGGED.value, _reviews.outcome == "confirmed"
    parts = {
        "flagged": flagged,
        "confirmed": sa.and_(flagged, confirmed),
        "overturned": sa.and_(flagged, _reviews.outcome == "dismissed"),
        "missed": sa.and_(~flagged, confirmed),
    }
    query = (
        sa.select(
            _calls.campaign_id,
            sa.func.count().label("screened"),
            *(sa.func.sum(sa.case((part, 1), else_=0)).label(name) for name, part in parts.items()),
        )
        .select_from(schema.calls.outerjoin(schema.reviews, _reviews.call_seq == _calls.seq))
        .where(_calls.campaign_id.in_(ids), _calls.started_at >= start, _calls.started_at < end)
        .group_by(_calls.campaign_id)
    )
    if carrier_id is not None:
        query = query.where(_calls.carrier_id == carrier_id)
    found = {
        row.campaign_id: Counts(**{name: int(getattr(row, name)) for name in COUNTED})
        for row in connection.execute(query)
    }
    return [Line(one, found.get(one, Counts())) for one in ids]


def _sent_within(period: Period) -> list[sa.ColumnElement[bool]]:
    start, end = _moments(period)
    return [notices.c.sent_at >= start, notices.c.sent_at < end]


def _notices(connection: sa.Connection, period: Period) -> list[tuple[dt.datetime, float | None]]:
    """Return when each notice went out and the hours until its answer, None without one."""
    query = sa.select(notices.c.sent_at, notices.c.answered_at).where(*_sent_within(period))
    return [
        (row.sent_at, (row.answered_at - row.sent_at).total_seconds() / 3600 if row.answered_at else None)
        for row in connection.execute(query)
    ]


def _answers(sent: list[float | None]) -> dict[str, Any]:
    hours = [one for one in sent if one is not None]
    return {
        "notices_sent": len(sent),
        "notices_answered": len(hours),
        "median_answer_h": round(statistics.median(hours), 1) if hours else None,
    }
