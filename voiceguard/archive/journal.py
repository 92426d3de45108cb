"""What a scan has done so far, on disk, so that it can go on after a stop, a crash or a power cut.

One SQLite file beside the output holds each recording's result under its path, with what the file was then and
the detector it was scored with. A batch of results is one transaction that SQLite syncs to the disk
whole or not at all. The rows go from here to the output in path order, so the output of a scan that was
killed and resumed is that of an undisturbed one, byte for byte, and memory does not grow with the archive.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Self

from voiceguard.archive.jobs import Job, Member
from voiceguard.archive.rows import SCHEMA_VERSION, Scored, from_json, to_json

_LAYOUT_VERSION = 3
_COMMIT_EVERY_S = 1.0
_COMMIT_EVERY_FILES = 500
_PAGE_FILES = 1000

_LAYOUT = """
CREATE TABLE files (
    path BLOB PRIMARY KEY,   -- as the file system has it; SQLite orders blobs byte by byte
    state TEXT,              -- what the file was, see jobs.Job
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
    state TEXT,
    archive BLOB NOT NULL,   -- what holds the member; of a file of its own, the path
    place INTEGER NOT NULL,  -- of a member, where it begins; -1 of a file of its own
    size_bytes INTEGER NOT NULL,
    done INTEGER NOT NULL,
    UNIQUE (archive, place)  -- and the order of the work: a compressed tar can only be read forward
) WITHOUT ROWID;
"""
_OWN_FILE = -1
_FILE_COLUMNS = "path, state, made_by, content, result, fingerprint"


class JournalError(Exception):
    """The scan's journal can't be written or read."""


KeptRow = tuple[bytes, str | None, str, str | None, str, bytes | None]
"""A result as the journal keeps it: path, state, made_by, content, result, fingerprint."""


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

    def want(self, jobs: Iterable[Job]) -> None:
        """Say which recordings the scan is about, in any order; one that comes twice counts once.

        Members of one archive may bear one name: from the second on, they are told apart by ``#2``, ``#3``…
        """
        self._begin()
        for job in jobs:
            member = job.member
            holder = os.fsencode(member.archive if member else job.path)
            place, size_bytes = (member.place, member.size_bytes) if member else (_OWN_FILE, 0)
            if self._want(job.path, job.state, holder, place, size_bytes) or member is None:
                continue
            if self._execute(
                "SELECT 1 FROM wanted WHERE archive = ? AND place = ?", (holder, place)
            ).fetchone():
                continue
            number = 2
            while not self._want(f"{job.path}#{number}", job.state, holder, place, size_bytes):
                number += 1
        self.commit()

    def _want(self, path: str, state: str | None, holder: bytes, place: int, size_bytes: int) -> bool:
        inserted = self._execute(
            "INSERT OR IGNORE INTO wanted VALUES (?, ?, ?, ?, ?, 0)",
            (os.fsencode(path), state, holder, place, size_bytes),
        )
        return inserted.rowcount == 1

    def resume(self, made_by: str) -> None:
        """Take over what an earlier scan did; to be called after :meth:`want` and before all else.

        Parameters
        ----------
        made_by
            Names what determines a result beside the file itself. A result made by another does not count,
            nor does that of a file whose state changed.
        """
        self._made_by = f"{made_by}, schema {SCHEMA_VERSION}"
        self._execute(
            "UPDATE wanted SET done = EXISTS (SELECT 1 FROM files WHERE files.path = wanted.path"
            " AND files.state = wanted.state AND made_by = ?)",
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
        """Yield the recordings without a result: files in path order, members as they lie in their archive."""
        last: tuple[bytes, int] = (b"", _OWN_FILE)
        while page := self._execute(
            "SELECT path, state, archive, place, size_bytes FROM wanted"
            " WHERE (archive, place) > (?, ?) AND NOT done ORDER BY archive, place LIMIT ?",
            (*last, _PAGE_FILES),
        ).fetchall():
            last = page[-1][2], page[-1][3]
            for place in page:
                yield _job(*place)

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
            "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)",
            (path, job.state, self._made_by, content, to_json(result), result.fingerprint),
        )
        self._execute("UPDATE wanted SET done = 1 WHERE path = ?", (path,))
        self._uncommitted += 1
        if (
            self._uncommitted >= _COMMIT_EVERY_FILES
            or time.monotonic() - self._committed_at >= _COMMIT_EVERY_S
        ):
            self.commit()

    def kept_after(self, number: int, limit: int) -> tuple[list[KeptRow], int]:
        """Return up to ``limit`` results that were recorded after the one of that number, and the last's."""
        found = self._execute(
            f"SELECT {_FILE_COLUMNS}, rowid FROM files WHERE rowid > ? ORDER BY rowid LIMIT ?",  # noqa: S608
            (number, limit),
        ).fetchall()
        return [row[:-1] for row in found], found[-1][-1] if found else number

    def keep(self, rows: Iterable[KeptRow]) -> int:
        """Take over results that another journal kept; return the last one's number."""
        self._begin()
        for row in rows:
            self._execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)", row)
        self.commit()
        return int(self._execute("SELECT coalesce(max(rowid), 0) FROM files").fetchone()[0])

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

    def done(self) -> Iterator[tuple[Job, Scored]]:
        """Yield every recording with its result and fingerprint; members as they lie in their archive."""
        self.commit()
        last: tuple[bytes, int] = (b"", _OWN_FILE)
        while page := self._execute(
            "SELECT path, wanted.state, archive, place, size_bytes, result, fingerprint"
            " FROM wanted JOIN files USING (path) WHERE (archive, place) > (?, ?) AND done"
            " ORDER BY archive, place LIMIT ?",
            (*last, _PAGE_FILES),
        ).fetchall():
            last = page[-1][2], page[-1][3]
            for *place, result, fingerprint in page:
                job = _job(*place)
                yield job, from_json(job.path, result, fingerprint)

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
        if empty and self._path is not None:
            delete_journal(self._path)

    def _begin(self) -> None:
        if not self._db.in_transaction:
            self._execute("BEGIN")


def journal_files(path: Path) -> tuple[Path, Path]:
    """Name the file of a journal, and the one beside it that SQLite undoes a broken transaction with."""
    return path, path.with_name(f"{path.name}-journal")


def delete_journal(path: Path) -> None:
    """Delete the files of a journal that no scan has open.

    A scan killed between two transactions leaves SQLite's file behind, and one with nothing to add leaves it there.
    """
    for name in journal_files(path):
        name.unlink(missing_ok=True)


def _job(path: bytes, state: str | None, holder: bytes, place: int, size_bytes: int) -> Job:
    member = None if place == _OWN_FILE else Member(os.fsdecode(holder), place, size_bytes)
    return Job(os.fsdecode(path), state, member)


def _for_people(error: sqlite3.Error, path: Path | None) -> JournalError:
    code = getattr(error, "sqlite_errorcode", None)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return JournalError(f"another scan is writing {path}; wait for it, or choose another output")
    if code == sqlite3.SQLITE_NOTADB:
        return JournalError(f"{path} is not the journal of a scan; move it away, or choose another output")
    return JournalError(f"can't write the scan's journal {path or ''}: {error}")
