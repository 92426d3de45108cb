"""Counters of the `limits` library in a table, so that all processes of one database count as one.

On PostgreSQL the table lies beside the others. On SQLite it has a file of its own without fsync: a counter
may be lost in a power cut, and counting must not wait for the disk.
"""

from __future__ import annotations

import time
from typing import Any

import sqlalchemy as sa
from limits.storage import Storage
from sqlalchemy.dialects import postgresql, sqlite

from voiceguard.errors import StoreError
from voiceguard.store.engine import connect, reading, writing
from voiceguard.store.schema import rate_limits


class TableStorage(Storage):
    """A storage for `limits.strategies.FixedWindowRateLimiter`."""

    STORAGE_SCHEME = None

    def __init__(self, engine: sa.Engine) -> None:
        super().__init__()
        self._own = engine.dialect.name == "sqlite"
        if self._own:
            engine = connect(f"sqlite:///{engine.url.database}-limits", durable=False)
            rate_limits.create(engine, checkfirst=True)
        self._engine = engine

    @property
    def base_exceptions(self) -> type[Exception]:
        """What the storage raises when it does not answer."""
        return StoreError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Add ``amount`` to the counter, which starts anew after ``expiry`` seconds; return its value."""
        now = time.time()
        insert: Any = sqlite.insert if self._engine.dialect.name == "sqlite" else postgresql.insert
        old = rate_limits.c
        # An end further away than one window was written before the clock was set back.
        over = sa.or_(old.expires_at <= now, old.expires_at > now + expiry)
        statement = (
            insert(rate_limits)
            .values(key=key, hits=amount, expires_at=now + expiry)
            .on_conflict_do_update(
                index_elements=[old.key],
                set_={
                    "hits": sa.case((over, amount), else_=old.hits + amount),
                    "expires_at": sa.case((over, now + expiry), else_=old.expires_at),
                },
            )
            .returning(old.hits)
        )
        with writing(self._engine) as connection:
            return int(connection.execute(statement).scalar_one())

    def get(self, key: str) -> int:
        """Return the counter's value."""
        return int(self._column(rate_limits.c.hits, key) or 0)

    def get_expiry(self, key: str) -> float:
        """Return when the counter starts anew, in seconds since the epoch."""
        return float(self._column(rate_limits.c.expires_at, key) or time.time())

    def check(self) -> bool:
        """Say whether the storage answers."""
        try:
            self.get("")
        except StoreError:
            return False
        return True

    def reset(self) -> int:
        """Forget every counter; return how many there were."""
        with writing(self._engine) as connection:
            return connection.execute(sa.delete(rate_limits)).rowcount

    def clear(self, key: str) -> None:
        """Forget one counter."""
        with writing(self._engine) as connection:
            connection.execute(sa.delete(rate_limits).where(rate_limits.c.key == key))

    def close(self) -> None:
        """Close the connections to a counters' file of its own."""
        if self._own:
            self._engine.dispose()

    def _column(self, column: sa.Column[Any], key: str) -> float | None:
        with reading(self._engine) as connection:
            return connection.scalar(
                sa.select(column).where(rate_limits.c.key == key, rate_limits.c.expires_at > time.time())
            )
