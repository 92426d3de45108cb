"""Views of the queue that a person keeps: a filter under a name, seen by that person alone."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import sqlalchemy as sa

from voiceguard.store.engine import writing
from voiceguard.store.review_schema import saved_views

MOST = 30
MOST_NAME_CHARS = 64
MOST_QUERY_CHARS = 2000
_views = saved_views.c


class ViewError(ValueError):
    """The view can't be saved; the text says why, for the person who wanted to."""


@dataclass(frozen=True)
class View:
    """A kept view."""

    seq: int
    name: str
    query: str
    """The filter as the queue's address has it."""


def of(connection: sa.Connection, user_id: str) -> list[View]:
    """Return a person's views by name."""
    query = sa.select(_views.seq, _views.name, _views.query).where(_views.user_id == user_id)
    return [View(*row) for row in connection.execute(query.order_by(_views.name))]


def save(engine: sa.Engine, user_id: str, name: str, query: str, now: dt.datetime) -> View:
    """Keep a view.

    Raises
    ------
    ViewError
        It has no name, or one that is taken; or there are `MOST` already.
    """
    if not 1 <= len(name) <= MOST_NAME_CHARS or not name.isprintable() or len(query) > MOST_QUERY_CHARS:
        raise ViewError(f"Expected a name of 1 to {MOST_NAME_CHARS} characters.")
    with writing(engine) as connection:
        mine = of(connection, user_id)
        if any(view.name == name for view in mine):
            raise ViewError(f"You have a view named {name} already.")
        if len(mine) >= MOST:
            raise ViewError(f"Expected at most {MOST} views.")
        values = {"user_id": user_id, "name": name, "query": query, "created_at": now}
        try:
            seq = connection.execute(
                sa.insert(saved_views).values(**values).returning(_views.seq)
            ).scalar_one()
        except sa.exc.IntegrityError:
            raise ViewError(f"You have a view named {name} already.") from None
    return View(seq, name, query)


def delete(engine: sa.Engine, user_id: str, seq: int) -> bool:
    """Delete one's own view; return whether there was one."""
    mine = sa.and_(_views.seq == seq, _views.user_id == user_id)
    with writing(engine) as connection:
        return connection.execute(sa.delete(saved_views).where(mine)).rowcount > 0
