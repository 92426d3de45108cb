"""The review queue: calls and campaigns that wait, in an order, page by page, quick at any size.

Each page follows an index from where the page before ended: a cursor is the last row's place in the order and
its number.
"""

from __future__ import annotations

import base64
import datetime as dt
import enum
import json
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from voiceguard.store import schema
from voiceguard.store.decisions import State, Why
from voiceguard.verdict import Reason, Verdict

_calls, _reviews, _screenings = schema.calls.c, schema.reviews.c, schema.screenings.c
_campaigns, _users, _carriers = schema.campaigns.c, schema.users.c, schema.carriers.c
_standing = schema.campaign_reviews.c
COUNTED = 1000
"""More than so many are not counted: the page says 1,000+."""


class Order(enum.StrEnum):
    """What comes first."""

    STRENGTH = "strength"
    SIZE = "size"
    OLDEST = "oldest"
    NEWEST = "newest"


@dataclass(frozen=True)
class Wanted:
    """Which calls the queue shows; None leaves a field open."""

    state: State | None = State.OPEN
    """None: every call, reviewed or not, the latest first."""
    order: Order = Order.STRENGTH
    number: str | None = None
    """Caller or callee in E.164."""
    number_prefix: bool = False
    """Whether ``number`` is only how it begins."""
    provider: str | None = None
    level: str | None = None
    """Attestation: A, B, C, or ``none``."""
    verdict: Verdict | None = None
    score_from: float | None = None
    campaign_id: str | None = None
    reviewer: str | None = None
    """Name of who decided last."""
    why: Why | None = None


@dataclass(frozen=True)
class Item:
    """A call of the queue."""

    seq: int
    call_id: str
    caller: str | None
    callee: str | None
    started_at: dt.datetime
    carrier: str
    provider: str | None
    level: str | None
    verdict: Verdict
    reason: Reason | None
    score: float | None
    duration_s: float
    campaign_id: str | None
    campaign_calls: int
    why: Why | None
    state: State | None
    outcome: str | None
    reviewer: str | None
    version: int
    place: float | dt.datetime | None
    """Where the row stands in the order."""


@dataclass(frozen=True)
class CampaignItem:
    """A campaign of the queue."""

    seq: int
    id: str
    calls: int
    first_seen_at: dt.datetime
    last_seen_at: dt.datetime
    verdict: Verdict | None
    score: float | None
    carriers: int
    outcome: str | None
    new_calls: int
    """That came since it was decided."""
    place: float | dt.datetime | None


def page(
    connection: sa.Connection, wanted: Wanted, *, after: str | None, limit: int, backwards: bool = False
) -> list[Item]:
    """Return up to ``limit`` calls that follow the cursor ``after``; before it, nearest first, if backwards.

    Raises
    ------
    ValueError
        ``cursor_of`` did not make the cursor.
    """
    place, down = _order(wanted)
    forward = down != backwards
    reviewer_id = None
    if wanted.reviewer is not None:
        # Looked up first: of a number of its own the database knows how many rows it has, of a name not.
        reviewer_id = connection.scalar(sa.select(_users.id).where(_users.name == wanted.reviewer))
        if reviewer_id is None:
            return []
    narrow, seq = _narrow(wanted, place, reviewer_id)
    if wanted.state is None:
        place = seq
    if after is not None:
        value, last_seq = _read(after, isinstance(place.type, schema.UTCDateTime))
        bound = sa.literal(value, place.type)
        # Two conditions that say the same: the first one is what an index can begin at.
        nearer = place <= bound if forward else place >= bound
        beyond = place < bound if forward else place > bound
        tied = seq < last_seq if forward else seq > last_seq
        narrow = narrow.where(nearer, sa.or_(beyond, tied))
    order = (place.desc(), seq.desc()) if forward else (place.asc(), seq.asc())
    found = narrow.order_by(*order).limit(limit).subquery()
    at, tie = found.c.place, found.c.seq
    query = _items(at).join(found, found.c.seq == _calls.seq)
    query = query.order_by(at.desc(), tie.desc()) if forward else query.order_by(at, tie)
    return [_item(row) for row in connection.execute(query)]


def single(connection: sa.Connection, wanted: Wanted, call_id: str) -> Item | None:
    """Return a call with its place in the order of ``wanted``, whether or not that lets it through."""
    place, _ = _order(wanted)
    query = _items(place).where(_calls.id == call_id)
    if wanted.state is not None:
        query = query.where(_reviews.call_seq.is_not(None))
    row = connection.execute(query).one_or_none()
    return _item(row) if row else None


def _order(wanted: Wanted) -> tuple[sa.ColumnElement[Any], bool]:
    """Return what calls are ordered by, and whether that falls."""
    if wanted.state is None:
        return _calls.seq, True
    if wanted.order in (Order.OLDEST, Order.NEWEST):
        return _reviews.started_at, wanted.order is Order.NEWEST
    return _reviews.rank, True


def _narrow(
    wanted: Wanted, place: sa.ColumnElement[Any], reviewer_id: str | None
) -> tuple[sa.Select[Any], sa.ColumnElement[Any]]:
    """Return the query for numbers and places of the calls that are wanted, and the column of their numbers.

    It joins no table that no condition needs: what else a page shows is read for its few rows alone.
    """
    of_reviews, of_calls, of_screenings = _conditions(wanted, reviewer_id)
    parts: list[tuple[sa.FromClause, sa.ColumnElement[Any], list[sa.ColumnElement[bool]]]] = [
        (schema.reviews, _reviews.call_seq, of_reviews),
        (schema.calls, _calls.seq, of_calls),
        (schema.screenings, _screenings.call_seq, of_screenings),
    ]
    used = [part for part in parts if part[2]] or parts[1:2]
    source, seq, conditions = used[0]
    for table, key, further in used[1:]:
        source, conditions = source.join(table, key == seq), conditions + further
    # Of all calls, which have no other order, the numbers are the places.
    at = seq if wanted.state is None else place
    return sa.select(seq.label("seq"), at.label("place")).select_from(source).where(*conditions), seq


def _items(place: sa.ColumnElement[Any]) -> sa.Select[Any]:
    """Return the query for all that is shown of calls."""
    return sa.select(
        _calls.seq,
        _calls.id.label("call_id"),
        _calls.caller,
        _calls.callee,
        _calls.started_at,
        _carriers.name.label("carrier"),
        _calls.upstream_provider.label("provider"),
        _calls.level,
        _screenings.verdict,
        _screenings.reason,
        _screenings.score,
        schema.recordings.c.duration_s,
        _calls.campaign_id,
        sa.func.coalesce(_campaigns.calls, 0).label("campaign_calls"),
        _reviews.why,
        _reviews.state,
        _reviews.outcome,
        _users.name.label("reviewer"),
        sa.func.coalesce(_reviews.version, 0).label("version"),
        place.label("place"),
    ).select_from(
        schema.calls.join(schema.screenings, _screenings.call_seq == _calls.seq)
        .join(schema.carriers)
        .join(schema.recordings)
        .outerjoin(schema.reviews, _reviews.call_seq == _calls.seq)
        .outerjoin(schema.campaigns, _campaigns.id == _calls.campaign_id)
        .outerjoin(schema.users, _users.id == _reviews.reviewer_id)
    )


def campaign_page(
    connection: sa.Connection, order: Order, *, decided: bool, after: str | None, limit: int
) -> list[CampaignItem]:
    """Return campaigns of two calls or more that wait for a decision, or that have one."""
    place, down = {
        Order.SIZE: (_campaigns.calls, True),
        Order.OLDEST: (_campaigns.last_seen_at, False),
        Order.NEWEST: (_campaigns.last_seen_at, True),
    }.get(order, (_campaigns.score, True))
    waits = sa.or_(_standing.outcome.is_(None), _standing.outcome.notin_(("confirmed", "dismissed")))
    carriers = (
        sa.select(sa.func.count())
        .where(schema.campaign_carriers.c.campaign_seq == _campaigns.seq)
        .scalar_subquery()
    )
    query = (
        sa.select(
            _campaigns.seq,
            _campaigns.id,
            _campaigns.calls,
            _campaigns.first_seen_at,
            _campaigns.last_seen_at,
            _campaigns.verdict,
            _campaigns.score,
            carriers.label("carriers"),
            _standing.outcome,
            _standing.calls.label("then"),
            place.label("place"),
        )
        .select_from(schema.campaigns.outerjoin(schema.campaign_reviews))
        # As written in the indexes, which hold these alone; a campaign merged into another has no calls.
        .where(sa.text("campaigns.calls > 1"), place.is_not(None))
    )
    # A campaign in which people's voices are heard is nobody's to accuse; one that has grown waits again.
    query = query.where(
        ~waits
        if decided
        else sa.and_(
            sa.or_(waits, _campaigns.calls > _standing.calls), _campaigns.verdict != Verdict.HUMAN.value
        )
    )
    if after is not None:
        value, seq = _read(after, isinstance(place.type, schema.UTCDateTime))
        bound = sa.literal(value, place.type)
        query = query.where(
            place <= bound if down else place >= bound,
            sa.or_(
                place < bound if down else place > bound,
                _campaigns.seq < seq if down else _campaigns.seq > seq,
            ),
        )
    ends = (place.desc(), _campaigns.seq.desc()) if down else (place.asc(), _campaigns.seq.asc())
    return [
        CampaignItem(
            seq=row.seq,
            id=row.id,
            calls=row.calls,
            first_seen_at=row.first_seen_at,
            last_seen_at=row.last_seen_at,
            verdict=Verdict(row.verdict) if row.verdict else None,
            score=row.score,
            carriers=row.carriers,
            outcome=row.outcome if row.outcome != "open" else None,
            new_calls=max(row.calls - row.then, 0) if row.then else 0,
            place=row.place,
        )
        for row in connection.execute(query.order_by(*ends).limit(limit))
    ]


def counts(connection: sa.Connection) -> dict[State, int]:
    """Return how many calls are in each state that waits, up to `COUNTED`."""
    found = {}
    for state in (State.OPEN, State.SECOND, State.ESCALATED):
        some = sa.select(sa.literal(1)).where(_reviews.state == state.value).limit(COUNTED).subquery()
        found[state] = connection.scalar(sa.select(sa.func.count()).select_from(some)) or 0
    return found


def cursor_of(item: Item | CampaignItem) -> str:
    """Return the cursor of the page that follows this row."""
    place = item.place.isoformat() if isinstance(item.place, dt.datetime) else item.place
    return base64.urlsafe_b64encode(json.dumps([place, item.seq]).encode()).decode().rstrip("=")


def _read(cursor: str, is_time: bool) -> tuple[Any, int]:
    try:
        place, seq = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        return (dt.datetime.fromisoformat(place) if is_time else float(place)), int(seq)
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise ValueError("expected a cursor of an earlier page") from None


def _conditions(wanted: Wanted, reviewer_id: str | None) -> tuple[list[sa.ColumnElement[bool]], ...]:
    """Return the conditions on reviews, on calls and on screenings."""
    of_reviews = [
        column == value
        for column, value in (
            (_reviews.state, wanted.state.value if wanted.state else None),
            (_reviews.why, wanted.why.value if wanted.why else None),
            (_reviews.reviewer_id, reviewer_id),
        )
        if value is not None
    ]
    of_calls = [
        column == value
        for column, value in (
            (_calls.upstream_provider, wanted.provider),
            (_calls.level, wanted.level),
            (_calls.campaign_id, wanted.campaign_id),
        )
        if value is not None
    ]
    if wanted.number is not None:
        # A range, not LIKE: whatever the collation, letters come after digits and an index serves.
        ends = wanted.number + "z" if wanted.number_prefix else wanted.number
        of_calls.append(
            sa.or_(_calls.caller.between(wanted.number, ends), _calls.callee.between(wanted.number, ends))
        )
    of_screenings = [_screenings.verdict == wanted.verdict.value] if wanted.verdict is not None else []
    if wanted.score_from is not None:
        of_screenings.append(_screenings.score >= wanted.score_from)
    return of_reviews, of_calls, of_screenings


def _item(row: Any) -> Item:
    values = row._asdict()
    return Item(
        **{
            **values,
            "level": None if row.level == "none" else row.level,
            "verdict": Verdict(row.verdict),
            "reason": Reason(row.reason) if row.reason else None,
            "why": Why(row.why) if row.why else None,
            "state": State(row.state) if row.state else None,
        }
    )
