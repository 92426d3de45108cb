"""What lies in a case beside its calls: tasks, notes and their attachments."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from voiceguard.errors import RecordingMissing
from voiceguard.store import schema
from voiceguard.store.case_schema import case_attachments, case_notes, case_tasks
from voiceguard.store.recordings import Recordings


@dataclass(frozen=True)
class Task:
    """Something to do, until when, by whom."""

    seq: int
    text: str
    due_at: dt.datetime | None
    assignee_id: str | None
    assignee: str | None
    done_at: dt.datetime | None


@dataclass(frozen=True)
class Attachment:
    """A file of a note."""

    seq: int
    note_seq: int
    name: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Note:
    """What somebody wrote."""

    seq: int
    at: dt.datetime
    author: str
    text: str
    attachments: tuple[Attachment, ...] = ()


def add_task(
    connection: sa.Connection,
    case_seq: int,
    text: str,
    *,
    due_at: dt.datetime | None,
    assignee_id: str | None,
    done_at: dt.datetime | None = None,
) -> int:
    """Write a task; return its number."""
    return connection.execute(
        sa.insert(case_tasks)
        .values(case_seq=case_seq, text=text, due_at=due_at, assignee_id=assignee_id, done_at=done_at)
        .returning(case_tasks.c.seq)
    ).scalar_one()


def finish_task(connection: sa.Connection, case_seq: int, task_seq: int, *, now: dt.datetime) -> bool:
    """Say that a task is done; False if it is, or is not this case's."""
    table = case_tasks.c
    done = connection.execute(
        sa.update(case_tasks)
        .where(table.seq == task_seq, table.case_seq == case_seq, table.done_at.is_(None))
        .values(done_at=now)
    )
    return done.rowcount > 0


def tasks(connection: sa.Connection, case_seq: int) -> list[Task]:
    """Return a case's tasks: open ones first, by due date."""
    table = case_tasks.c
    query = (
        sa.select(
            table.seq,
            table.text,
            table.due_at,
            table.assignee_id,
            schema.users.c.name.label("assignee"),
            table.done_at,
        )
        .outerjoin(schema.users, schema.users.c.id == table.assignee_id)
        .where(table.case_seq == case_seq)
        .order_by(table.done_at.is_not(None), table.due_at.is_(None), table.due_at, table.seq)
    )
    return [Task(*row) for row in connection.execute(query)]


def add_note(
    connection: sa.Connection,
    case_seq: int,
    text: str,
    files: Sequence[tuple[str, str, int]],
    *,
    author: str,
    now: dt.datetime,
) -> int:
    """Write a note with files that are kept already (name, SHA-256, bytes); return its number."""
    seq: int = connection.execute(
        sa.insert(case_notes)
        .values(case_seq=case_seq, at=now, author=author, text=text)
        .returning(case_notes.c.seq)
    ).scalar_one()
    for name, sha256, size_bytes in files:
        connection.execute(
            sa.insert(case_attachments).values(
                case_seq=case_seq, note_seq=seq, name=name, sha256=sha256, size_bytes=size_bytes
            )
        )
    return seq


def notes(connection: sa.Connection, case_seq: int) -> list[Note]:
    """Return a case's notes, latest first."""
    table = case_notes.c
    files: dict[int, list[Attachment]] = {}
    for one in _attachments(connection, case_attachments.c.case_seq == case_seq):
        files.setdefault(one.note_seq, []).append(one)
    query = sa.select(table.seq, table.at, table.author, table.text).where(table.case_seq == case_seq)
    return [
        Note(*row, attachments=tuple(files.get(row.seq, ())))
        for row in connection.execute(query.order_by(table.seq.desc()))
    ]


def attachment(connection: sa.Connection, case_seq: int, seq: int) -> Attachment | None:
    """Return one attachment of a case."""
    table = case_attachments.c
    return next(iter(_attachments(connection, table.case_seq == case_seq, table.seq == seq)), None)


def _attachments(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> list[Attachment]:
    table = case_attachments.c
    query = sa.select(table.seq, table.note_seq, table.name, table.sha256, table.size_bytes)
    return [Attachment(*row) for row in connection.execute(query.where(*conditions).order_by(table.seq))]


def keep(recordings: Recordings, data: bytes) -> str:
    """Put a file beside the recordings, whole or not at all; return its SHA-256."""
    sha256 = hashlib.sha256(data).hexdigest()
    recordings.keep(_place(sha256), data)
    return sha256


def kept(recordings: Recordings, sha256: str) -> bytes:
    """Return a file that `keep` put there.

    Raises
    ------
    RecordingMissing
        It is not there, or not as it was.
    """
    data = recordings.kept(_place(sha256))
    if data is None or hashlib.sha256(data).hexdigest() != sha256:
        raise RecordingMissing(f"Expected the attachment with SHA-256 {sha256} beside the recordings.")
    return data


def _place(sha256: str) -> str:
    return f"attachments/{sha256[:2]}/{sha256}"
