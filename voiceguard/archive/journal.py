"""What a scan has done so far, on disk, so that it can go on after a stop, a crash or a power cut.

One SQLite file beside the output holds each file's result under its path, with the size, the modification
time and the detector it was scored with. A batch of results is one transaction that SQLite syncs to the disk
whole or not at all. The rows go from here to the output in path order, so the output of a scan that was
killed and resumed is that of an undisturbed one, byte for byte, and memory does not grow with the archive.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from voiceguard.archive.rows import SCHEMA_VERSION, Scored, from_json, to_json

_LAYOUT_VERSION = 2
_COMMIT_EVERY_S = 1.0
_COMMIT_EVERY_FILES = 500
_PAGE_FILES = 1000

_LAYOUT = """
CREATE TABLE files (
    path BLOB PRIMARY KEY,   -- as the file system has it; SQLite orders blobs byte by byte
    size_bytes INTEGER,
    mtime_ns INTEGER,
    made_by TEXT NOT NULL,   -- the detector and schema the result stands for
    content TEXT,            -- SHA-256 and extension; NULL when the bytes could not be read
    result TEXT NOT NULL,    -- JSON, see rows.to_json
    fingerprint BLOB         -- of the deciding channel; NULL where there is none
);
CREATE INDEX files_by_content ON files (content, made_by);
"""
_WANTED = """
CREATE TEMPORARY TABLE wanted (
    path BLOB PRIMARY KEY,
    size_bytes INTEGER,
    mtime_ns INTEGER,
    done INTEGER NOT NULL
) WITHOUT ROWID;
"""


class JournalError(Exception):
    """The scan's journal can't be written or read."""


@dataclass(frozen=True, slots=True)
class Job:
    """A file to score, and what it was when the scan looked at it; None when it was not there."""

    path: str
    size_bytes: int | None
    mtime_ns: int | None


class Journal:
    """The results of a scan, by path.

    A journal has one writer: opening it a second time, while a scan runs, fails.

    Parameters
    ----------
    path
        The journal's file, made if need be; None keeps it in a temporary file that vanishes with the scan.

    Raises
    ------
    JournalError
        The file can't be written, is no journal, or another scan has it open.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._made_by = ""
        self._uncommitted = 0
        self._committed_at = time.monotonic()
        try:
            self._db = sqlite3.connect(path or "", timeout=0.0, isolation_level=None)
        except sqlite3.Error as error:
            raise _for_people(error, path) from error
        # One exclusive lock for the whole scan: two scans that write one output must not meet.
        self._execute("PRAGMA locking_mode = EXCLUSIVE")
        self._execute("PRAGMA synchronous = FULL")
        self._execute("PRAGMA temp_store = FILE")
        self._execute("BEGIN EXCLUSIVE")
        self._lay_out()
        self._execute("COMMIT")
        self._execute(_WANTED)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _execute(self, statement: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:
        try:
            return self._db.execute(statement, values)
        except sqlite3.Error as error:
            raise _for_people(error, self._path) from error

    def _lay_out(self) -> None:
        version = self._execute("PRAGMA user_version").fetchone()[0]
        if version == _LAYOUT_VERSION:
            return
        # Of another version of VoiceGuard: its results would not count anyway.
        self._execute("DROP TABLE IF EXISTS files")
        for statement in _LAYOUT.split(";\n"):
            self._execute(statement)
        self._execute(f"PRAGMA user_version = {_LAYOUT_VERSION}")

    def want(self, paths: Iterable[str]) -> None:
        """Say which files the scan is about, in any order; one that comes twice counts once."""
        self._begin()
        for path in paths:
            size_bytes, mtime_ns = _state(path)
            self._execute(
                "INSERT OR IGNORE INTO wanted VALUES (?, ?, ?, 0)", (os.fsencode(path), size_bytes, mtime_ns)
            )
        self.commit()

    def resume(self, made_by: str) -> None:
        """Take over what an earlier scan did; to be called after :meth:`want` and before all else.

        Parameters
        ----------
        made_by
            Names what determines a result beside the file itself. A result made by another does not count,
            nor does that of a file whose size or modification time changed.
        """
        self._made_by = f"{made_by}, schema {SCHEMA_VERSION}"
        self._execute(
            "UPDATE wanted SET done = EXISTS (SELECT 1 FROM files WHERE files.path = wanted.path"
            " AND files.size_bytes = wanted.size_bytes AND files.mtime_ns = wanted.mtime_ns AND made_by = ?)",
            (self._made_by,),
        )

    def count(self, *, done: bool | None = None) -> int:
        """How many files the scan is about; with ``done``, how many of them have or lack a result."""
        if done is None:
            return int(self._execute("SELECT count(*) FROM wanted").fetchone()[0])
        return int(self._execute("SELECT count(*) FROM wanted WHERE done = ?", (done,)).fetchone()[0])

    def verdicts(self) -> Counter[str | None]:
        """How many files there are by verdict; None stands for those that failed."""
        found = self._execute(
            "SELECT json_extract(result, '$[0]'), count(*) FROM files JOIN wanted USING (path)"
            " WHERE done GROUP BY 1"
        )
        return Counter(dict(found.fetchall()))

    def to_do(self) -> Iterator[Job]:
        """Yield the files without a result, in path order."""
        last = b""
        while page := self._execute(
            "SELECT path, size_bytes, mtime_ns FROM wanted WHERE path > ? AND NOT done ORDER BY path LIMIT ?",
            (last, _PAGE_FILES),
        ).fetchall():
            last = page[-1][0]
            for path, size_bytes, mtime_ns in page:
                yield Job(os.fsdecode(path), size_bytes, mtime_ns)

    def known(self, content: str) -> Scored | None:
        """Return the result of the same content under another path, if there is one."""
        found = self._execute(
            "SELECT path, result, fingerprint FROM files WHERE content = ? AND made_by = ? LIMIT 1",
            (content, self._made_by),
        ).fetchone()
        return from_json(os.fsdecode(found[0]), found[1], found[2]) if found else None

    def record(self, job: Job, content: str | None, result: Scored) -> None:
        """Keep a file's result; it is on disk within about a second, or after :meth:`commit`."""
        self._begin()
        path = os.fsencode(job.path)
        self._execute(
            "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                path,
                job.size_bytes,
                job.mtime_ns,
                self._made_by,
                content,
                to_json(result),
                result.fingerprint,
            ),
        )
        self._execute("UPDATE wanted SET done = 1 WHERE path = ?", (path,))
        self._uncommitted += 1
        if (
            self._uncommitted >= _COMMIT_EVERY_FILES
            or time.monotonic() - self._committed_at >= _COMMIT_EVERY_S
        ):
            self.commit()

    def fingerprints(self) -> Iterator[tuple[str, bytes]]:
        """Yield the content and the fingerprint of every recording that has one, in path order."""
        self.commit()
        last = b""
        while page := self._execute(
            "SELECT path, content, fingerprint FROM files JOIN wanted USING (path)"
            " WHERE path > ? AND done AND fingerprint IS NOT NULL ORDER BY path LIMIT ?",
            (last, _PAGE_FILES),
        ).fetchall():
            last = page[-1][0]
            for _, content, fingerprint in page:
                yield content, fingerprint

    def results(self, campaign_of: Callable[[str], str | None] = lambda _: None) -> Iterator[Scored]:
        """Yield every result with the campaign of its content, in path order (byte by byte)."""
        self.commit()
        last = b""
        while page := self._execute(
            "SELECT path, result, content FROM files JOIN wanted USING (path) WHERE path > ? AND done"
            " ORDER BY path LIMIT ?",
            (last, _PAGE_FILES),
        ).fetchall():
            last = page[-1][0]
            for path, result, content in page:
                found = from_json(os.fsdecode(path), result)
                yield found if content is None else found.in_campaign(campaign_of(content))

    def commit(self) -> None:
        """Put every recorded result on disk."""
        if self._db.in_transaction:
            self._execute("COMMIT")
        self._uncommitted = 0
        self._committed_at = time.monotonic()

    def close(self) -> None:
        """Put everything on disk and let go of the file; one that holds no result is deleted."""
        try:
            self.commit()
            empty = self._execute("SELECT NOT EXISTS (SELECT 1 FROM files)").fetchone()[0]
        finally:
            self._db.close()
        if empty:
            self.delete()

    def delete(self) -> None:
        """Delete the journal's file after :meth:`close`: the output is complete."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _begin(self) -> None:
        if not self._db.in_transaction:
            self._execute("BEGIN")


def _state(path: str) -> tuple[int | None, int | None]:
    try:
        status = os.stat(path)
    except OSError:
        return None, None
    return status.st_size, status.st_mtime_ns


def _for_people(error: sqlite3.Error, path: Path | None) -> JournalError:
    code = getattr(error, "sqlite_errorcode", None)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return JournalError(f"another scan is writing {path}; wait for it, or choose another output")
    if code == sqlite3.SQLITE_NOTADB:
        return JournalError(f"{path} is not the journal of a scan; move it away, or choose another output")
    return JournalError(f"can't write the scan's journal {path or ''}: {error}")
