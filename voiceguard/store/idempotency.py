"""Idempotency keys: one answer for one key, also when the process dies between two attempts.

Two things together keep the promise. The answer is a row that is committed with the call, and its primary key
lets only one call through. That a request is still in flight is no row but a lock that the operating system
or the database drops when the process dies, so nothing stale can block a key and no clock is asked: a byte of
a lock file beside a SQLite database, an advisory lock on PostgreSQL.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import hashlib
import os
import threading
from dataclasses import dataclass

import sqlalchemy as sa

from voiceguard.store import schema
from voiceguard.store.engine import writing


@dataclass(frozen=True)
class StoredAnswer:
    """What was answered to the first request with a key."""

    fingerprint: str
    call_id: str
    status: int
    body: str


_answers = schema.idempotency.c
_ANSWER = sa.select(_answers.fingerprint, _answers.call_id, _answers.status, _answers.body).where(
    _answers.carrier_id == sa.bindparam("carrier"), _answers.key == sa.bindparam("of_key")
)
_REMEMBER = sa.insert(schema.idempotency)


def answer_for(connection: sa.Connection, carrier_id: str, key: str) -> StoredAnswer | None:
    """Return the stored answer, None if the key is new."""
    row = connection.execute(_ANSWER, {"carrier": carrier_id, "of_key": key}).one_or_none()
    return StoredAnswer(*row) if row else None


def remember(connection: sa.Connection, carrier_id: str, key: str, answer: StoredAnswer) -> None:
    """Store the answer in the caller's transaction; IntegrityError if another request was first."""
    connection.execute(
        _REMEMBER,
        {
            "carrier_id": carrier_id,
            "key": key,
            "fingerprint": answer.fingerprint,
            "call_id": answer.call_id,
            "status": answer.status,
            "body": answer.body,
        },
    )


def forget(engine: sa.Engine, older_than: dt.datetime) -> int:
    """Delete the answers stored before ``older_than``; return how many."""
    with writing(engine) as connection:
        return connection.execute(
            sa.delete(schema.idempotency).where(schema.idempotency.c.created_at < older_than)
        ).rowcount


class InFlight:
    """The keys whose requests are being handled, over all processes of one database."""

    def __init__(self, engine: sa.Engine) -> None:
        self._mutex = threading.Lock()
        self._held: set[int] = set()
        self._locks: _FileLocks | _AdvisoryLocks = (
            _FileLocks(f"{engine.url.database}.lock")
            if engine.dialect.name == "sqlite"
            else _AdvisoryLocks(engine)
        )

    def take(self, carrier_id: str, key: str) -> bool:
        """Hold the key until `release`; False if another request holds it."""
        number = _number(carrier_id, key)
        with self._mutex:
            if number in self._held or not self._locks.take(number):
                return False
            self._held.add(number)
            return True

    def release(self, carrier_id: str, key: str) -> None:
        """Let the key go."""
        number = _number(carrier_id, key)
        with self._mutex:
            self._held.discard(number)
            self._locks.release(number)

    def close(self) -> None:
        """Let go of everything."""
        with self._mutex:
            self._locks.close()


def _number(carrier_id: str, key: str) -> int:
    """Return a key's place among the locks: 62 bits of its hash."""
    return int.from_bytes(hashlib.sha256(f"{carrier_id}\0{key}".encode()).digest()[:8]) >> 2


class _FileLocks:
    """Locks on single bytes of a file that stays empty."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def take(self, number: int) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
        except OSError:
            return False
        return True

    def release(self, number: int) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, number)

    def close(self) -> None:
        os.close(self._file)


class _AdvisoryLocks:
    """PostgreSQL's advisory locks, all on one connection that stays open.

    If the connection is lost, so are its locks: a second request with the same key may then run beside the
    first, and the primary key of the answers decides which of the two counts.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._connection: sa.Connection | None = None

    def take(self, number: int) -> bool:
        try:
            return self._call("pg_try_advisory_lock", number)
        except sa.exc.OperationalError:
            self._connection = None  # the server was restarted: once more on a new connection
            return self._call("pg_try_advisory_lock", number)

    def release(self, number: int) -> None:
        try:
            self._call("pg_advisory_unlock", number)
        except sa.exc.OperationalError:
            self._connection = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.invalidate()  # a pooled connection would keep the locks
            self._connection.close()
            self._connection = None

    def _call(self, function: str, number: int) -> bool:
        if self._connection is None:
            self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        return bool(self._connection.scalar(sa.text(f"SELECT {function}(:number)"), {"number": number}))
