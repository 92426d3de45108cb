"""Figures over time: counted in the transaction that changes them, by day, carrier, provider and attestation.

They stay when retention deletes a call, so that this year can be held against the last one. A figure belongs to
the day on which the call was received, also if people decide much later.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from voiceguard.store import schema
from voiceguard.store.engine import INSERTS
from voiceguard.store.review_schema import figures
from voiceguard.verdict import Verdict

if TYPE_CHECKING:
    from voiceguard.store.calls import NewCall

COUNTED = ("screened", "flagged", "confirmed", "overturned", "missed")
"""What is counted. Flagged calls end up confirmed or overturned; missed are those that only people found."""
_KEY = ("day", "carrier_id", "provider", "level")
_calls, _reviews = schema.calls.c, schema.reviews.c


def _adding(insert: Any) -> Any:
    """Let an insert add to the row that is there."""
    sums = {name: figures.c[name] + insert.excluded[name] for name in COUNTED}
    return insert.on_conflict_do_update(index_elements=list(_KEY), set_=sums)


_ADD = {name: _adding(insert(figures)) for name, insert in INSERTS.items()}
# Built once: to build a statement takes as long as to run it.


def day_number(day: dt.date) -> int:
    """Return a day as the table has it, such as 20260301."""
    return day.year * 10_000 + day.month * 100 + day.day


def count_call(connection: sa.Connection, call: NewCall, verdict: Verdict) -> None:
    """Count a call that was just stored."""
    values = {
        "day": day_number(call.received_at.astimezone(dt.UTC).date()),
        "carrier_id": call.carrier_id,
        "provider": call.upstream_provider or "",
        "level": (call.attestation or {}).get("level") or "none",
        **dict.fromkeys(COUNTED, 0),
        "screened": 1,
        "flagged": int(verdict is Verdict.SYNTHETIC),
    }
    connection.execute(_ADD[connection.dialect.name], values)


def count_outcomes(
    connection: sa.Connection,
    which: sa.ColumnElement[bool],
    outcome: sa.ColumnElement[Any] | str | None,
    *,
    times: int,
) -> None:
    """Count an outcome for the reviews ``which``, or take it out again with ``times`` −1.

    ``outcome`` is the same for all, or the column of ``reviews`` that has it; nothing is counted for None.
    """
    if outcome is None:
        return
    said = sa.literal(outcome) if isinstance(outcome, str) else outcome
    flagged = _reviews.why == "flagged"
    confirmed = said == "confirmed"
    conditions = {
        "confirmed": sa.and_(flagged, confirmed),
        "overturned": sa.and_(flagged, said == "dismissed"),
        "missed": sa.and_(~flagged, confirmed),
    }
    sums: dict[str, sa.ColumnElement[Any]] = {"screened": sa.literal(0), "flagged": sa.literal(0)}
    for name, condition in conditions.items():
        sums[name] = times * sa.func.sum(sa.case((condition, 1), else_=0))
    keys = [
        day_of(connection, _calls.received_at),
        _calls.carrier_id,
        sa.func.coalesce(_calls.upstream_provider, ""),
        _calls.level,
    ]
    labelled = [key.label(name) for key, name in zip(keys, _KEY, strict=True)]
    query = (
        sa.select(*labelled, *(value.label(name) for name, value in sums.items()))
        .join_from(schema.reviews, schema.calls)
        .where(which, sa.or_(*conditions.values()))
        .group_by(*labelled)
        # Two transactions that change several rows take their locks in one order.
        .order_by(*labelled)
    )
    insert = INSERTS[connection.dialect.name]
    connection.execute(_adding(insert(figures).from_select([*_KEY, *sums], query)))


def day_of(connection: sa.Connection, column: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
    """Return the expression for the UTC day of a moment, as `day_number` writes it."""
    if connection.dialect.name == "sqlite":
        text = sa.func.strftime("%Y%m%d", column)
    else:
        text = sa.func.to_char(sa.func.timezone("UTC", column), "YYYYMMDD")
    return sa.cast(text, sa.Integer)
