"""How many requests a key has made: counters in a table, so that all processes of one database count as one.

On PostgreSQL the table lies beside the others. On SQLite it has a file of its own without fsync: a counter
may be lost in a power cut, and counting must not wait for the disk.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import sqlalchemy as sa
from limits import RateLimitItem

from voiceguard.store.engine import INSERTS, connect, writing
from voiceguard.store.schema import rate_limits

_old = rate_limits.c
_END = sa.bindparam("ends", type_=_old.expires_at.type)
# An end further away than one window was written before the clock was set back.
_OVER = sa.or_(_old.expires_at <= sa.bindparam("now", type_=_old.expires_at.type), _old.expires_at > _END)
_HIT = {
    name: insert(rate_limits)
    .on_conflict_do_update(
        index_elements=[_old.key],
        set_={
            "hits": sa.case((_OVER, 1), else_=_old.hits + 1),
            "expires_at": sa.case((_OVER, _END), else_=_old.expires_at),
        },
    )
    .returning(_old.hits, _old.expires_at)
    for name, insert in INSERTS.items()
}


@dataclass(frozen=True)
class Usage:
    """What a key has used of its rate, this request included."""

    hits: int
    limit: int
    resets_in_s: float
    """Seconds until the counter starts anew."""

    @property
    def allowed(self) -> bool:
        """Whether the request is within the rate."""
        return self.hits <= self.limit

    @property
    def remaining(self) -> int:
        """Requests left until the counter starts anew."""
        return max(0, self.limit - self.hits)


class Counters:
    """Fixed windows: a key's first request opens one, and at its end the counter starts anew.

    `limits` has this strategy too, but asks its storage three times a request; here it is one statement.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._own = engine.dialect.name == "sqlite"
        if self._own:
            engine = connect(f"sqlite:///{engine.url.database}-limits", durable=False)
            rate_limits.create(engine, checkfirst=True)
        self._engine = engine

    def hit(self, rate: RateLimitItem, key: str) -> Usage:
        """Count a request of ``key`` against ``rate``.

        Raises
        ------
        StoreError
            The counters do not answer.
        """
        now, window_s = time.time(), rate.get_expiry()
        ends = now + window_s
        values = {"key": rate.key_for(key), "hits": 1, "expires_at": ends, "now": now, "ends": ends}
        with writing(self._engine) as connection:
            hits, expires_at = connection.execute(_HIT[connection.dialect.name], values).one()
        return Usage(hits, rate.amount, max(0.0, expires_at - now))

    def close(self) -> None:
        """Close the connections to a counters' file of its own."""
        if self._own:
            self._engine.dispose()
