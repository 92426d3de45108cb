"""The database: one engine for a process, set up so that a commit is on disk and two writers wait in line.

SQLite runs in WAL mode with ``synchronous=FULL``: a commit returns after the log is on disk. A transaction
that writes starts with ``BEGIN IMMEDIATE`` (`writing`), so it never finds out half-way that another writer
was faster. PostgreSQL needs neither.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

BUSY_TIMEOUT_S = 5.0
"""How long a SQLite writer waits for another one before it gives up."""


def connect(url: str, *, durable: bool = True, pool_size: int = 10) -> sa.Engine:
    """Return an engine for ``url``; nothing is opened yet.

    Parameters
    ----------
    url
        ``sqlite:///path`` or ``postgresql+psycopg://…`` (``postgresql://…`` is read as the latter).
    durable
        False only for what may be lost in a power cut (SQLite: ``synchronous=OFF``).
    pool_size
        Most connections held at once.
    """
    parsed = sa.make_url(url)
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed, durable=durable, pool_size=pool_size)
    return sa.create_engine(
        parsed,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=BUSY_TIMEOUT_S,
        pool_pre_ping=True,  # a restarted server must not cost the next request
        connect_args={"connect_timeout": 5},
    )


def _sqlite(url: sa.URL, *, durable: bool, pool_size: int) -> sa.Engine:
    if not url.database or url.database == ":memory:":
        raise ValueError(
            "expected a SQLite file such as sqlite:///voiceguard-data/voiceguard.db, got :memory:"
        )
    Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=BUSY_TIMEOUT_S,
        connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
    )

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we send BEGIN ourselves
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get("voiceguard_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


@contextlib.contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Open a transaction that writes; commit at the end, roll back on an exception."""
    with engine.connect().execution_options(voiceguard_writes=True) as connection, connection.begin():
        yield connection
