"""The database: one engine for a process, set up so that a commit is on disk and two writers wait in line.

SQLite runs in WAL mode with ``synchronous=FULL``: a commit returns after the log is on disk. A transaction
that writes starts with ``BEGIN IMMEDIATE`` (`writing`), so it never finds out half-way that another writer
was faster. PostgreSQL needs neither.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from voiceguard.errors import DatabaseUnavailable, StorageFull

INSERTS: Mapping[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
"""By dialect, the insert that knows ON CONFLICT; each dialect has a class of its own for it."""
BUSY_TIMEOUT_S = 5.0
"""How long a writer waits for another one, or for a free connection, before it gives up."""

_writers: weakref.WeakKeyDictionary[sa.Engine, threading.Lock] = weakref.WeakKeyDictionary()
"""SQLite lets waiting writers sleep and poll; inside one process a lock lets the next one go at once."""


def connect(url: str, *, durable: bool = True, pool_size: int = 20) -> sa.Engine:
    """Return an engine for ``url``.

    Parameters
    ----------
    url
        ``sqlite:///path`` or ``postgresql+psycopg://…`` (``postgresql://…`` is read as the latter).
    durable
        False only for what may be lost in a power cut (SQLite: ``synchronous=OFF``).
    pool_size
        Most connections held at once.

    Raises
    ------
    DatabaseUnavailable
        The database's driver is not installed.
    """
    parsed = sa.make_url(url)
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed, durable=durable, pool_size=pool_size)
    try:
        return sa.create_engine(
            parsed,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=BUSY_TIMEOUT_S,
            pool_pre_ping=True,  # a restarted server must not cost the next request
            # A server that vanished without a word must not hold a request for the minutes TCP would wait.
            connect_args={
                "connect_timeout": 5,
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 3,
                "tcp_user_timeout": 10_000,
            },
        )
    except ModuleNotFoundError as error:
        raise DatabaseUnavailable(
            f"PostgreSQL needs {error.name}: pip install 'voiceguard-screening[postgres]'."
        ) from error


def _sqlite(url: sa.URL, *, durable: bool, pool_size: int) -> sa.Engine:
    if not url.database or url.database == ":memory:":
        raise ValueError("expected a SQLite file such as sqlite:///voiceguard.db, got :memory:")
    file = Path(url.database).absolute()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)

    def _open() -> sqlite3.Connection:
        # mode=rw: a database that has gone away must be an error, not a new empty file.
        connection = sqlite3.connect(
            f"file:{quote(str(file))}?mode=rw",
            uri=True,
            timeout=BUSY_TIMEOUT_S,
            check_same_thread=False,
            isolation_level=None,  # BEGIN is sent below
        )
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")
        connection.execute("PRAGMA foreign_keys=ON")
        return connection

    engine = sa.create_engine(
        url,
        creator=_open,
        poolclass=sa.pool.QueuePool,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=BUSY_TIMEOUT_S,
    )
    _writers[engine] = threading.Lock()

    @sa.event.listens_for(engine, "connect")
    def _remember(_connection: Any, record: Any) -> None:
        record.info["file"] = _identity(file)

    @sa.event.listens_for(engine, "checkout")
    def _still_there(_connection: Any, record: Any, _proxy: Any) -> None:
        # An open connection would go on writing into a file that was moved away, where nobody finds it.
        if record.info["file"] != _identity(file):
            raise sa.exc.DisconnectionError(f"{file.name} was replaced")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get("voiceguard_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextlib.contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Open a transaction that only reads.

    Raises
    ------
    DatabaseUnavailable
        The database does not answer.
    """
    with _translated(), engine.connect() as connection, connection.begin():
        yield connection


@contextlib.contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Open a transaction that writes; commit at the end, roll back on an exception.

    Raises
    ------
    DatabaseUnavailable
        The database does not answer; nothing was written, or the answer to the commit was lost.
    StorageFull
        The disk under the database is full; nothing was written.
    """
    lock = _writers.get(engine, contextlib.nullcontext())
    with (
        _translated(),
        lock,
        engine.connect().execution_options(voiceguard_writes=True) as connection,
        connection.begin(),
    ):
        yield connection


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError) as error:
        raise _unavailable(error) from error
    except sa.exc.ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) == "42P01":  # undefined table: not migrated yet
            raise _unavailable(error) from error
        raise


def _unavailable(error: Exception) -> DatabaseUnavailable | StorageFull:
    cause = getattr(error, "orig", None)
    if (
        getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        or getattr(cause, "sqlstate", None) == "53100"
    ):
        return StorageFull("Expected room for the database to grow, but its disk is full.")
    return DatabaseUnavailable()
