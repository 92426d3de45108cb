"""What people do with cases: open, fill, assign, note, close. Each act is one transaction with its line of history."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from voiceguard.errors import VoiceGuardError
from voiceguard.store import campaigns, case_papers, cases, notices, schema
from voiceguard.store.audit import Action
from voiceguard.store.cases import Case, State
from voiceguard.store.engine import writing
from voiceguard.store.notices import WAITING
from voiceguard.store.recordings import Recordings

OUTCOMES = {
    "stopped": "The calls stopped",
    "referred": "Referred to another authority",
    "settled": "Settled",
    "proceedings": "Proceedings opened",
    "unfounded": "Not founded",
    "untraceable": "The origin could not be found",
}
"""How a case can end."""
MAX_TITLE_CHARS = 200
MAX_NOTE_CHARS = 20_000
MAX_TASK_CHARS = 500
MAX_ATTACHMENT_BYTES = 20 * 1024 * 1024
MAX_MEMBERS = 500
_ID = re.compile("(call|campaign)_[0-9a-f]{32}")


class CaseError(VoiceGuardError):
    """The case can't be changed in this way."""

    code = "case_error"
    remedy = "Load the case again and see how it stands."


def open_case(
    engine: sa.Engine,
    title: str,
    object_ids: Sequence[str] = (),
    *,
    owner_id: str | None,
    actor: str,
    now: dt.datetime,
) -> Case:
    """Open a case of calls and campaigns.

    Raises
    ------
    CaseError
        The title is empty or too long, or there is no such call or campaign.
    """
    title = _text(title, "a title", MAX_TITLE_CHARS)
    with writing(engine) as connection:
        _known_user(connection, owner_id)
        case = cases.insert(connection, title, owner_id=owner_id, now=now)
        added = put(connection, case, object_ids, now=now)
        detail = {"title": title, "added": added}
        cases.note(
            connection,
            case,
            actor=actor,
            action="opened",
            now=now,
            detail=detail,
            audited=Action.CASE_OPENED,
        )
    return case


def add(
    engine: sa.Engine, case_id: str, object_ids: Sequence[str], *, actor: str, now: dt.datetime
) -> list[str]:
    """Put calls and campaigns into a case; return those that were not in it."""
    with changing(engine, case_id) as (connection, case):
        added = put(connection, case, object_ids, now=now)
        if added:
            _noted(connection, case, actor, "added", now, objects=added)
    return added


def remove(engine: sa.Engine, case_id: str, object_id: str, *, actor: str, now: dt.datetime) -> None:
    """Take a call or a campaign out of a case."""
    with changing(engine, case_id) as (connection, case):
        before = cases.in_case(connection, case.seq)
        if not cases.remove_member(connection, case.seq, object_id):
            raise CaseError(f"Expected a call or campaign of this case, got {object_id}.")
        cases.release(connection, before)
        _noted(connection, case, actor, "removed", now, objects=[object_id])


def change(
    engine: sa.Engine, case_id: str, *, title: str, owner_id: str | None, actor: str, now: dt.datetime
) -> None:
    """Give a case a title and an owner."""
    title = _text(title, "a title", MAX_TITLE_CHARS)
    with changing(engine, case_id) as (connection, case):
        _known_user(connection, owner_id)
        detail: dict[str, Any] = {}
        if title != case.title:
            detail["title"] = title
        if owner_id != case.owner_id:
            detail["owner_id"] = owner_id
        if detail:
            cases.update(connection, case, now=now, title=title, owner_id=owner_id)
            _noted(connection, case, actor, "changed", now, **detail)


def link(engine: sa.Engine, case_id: str, other_id: str, *, actor: str, now: dt.datetime) -> None:
    """Link a case with another, whose number or id is given."""
    with changing(engine, case_id) as (connection, case):
        other = cases.get(connection, other_id) or cases.numbered(connection, other_id)
        if other is None or other.seq == case.seq:
            raise CaseError(f"Expected the number of another case, got {other_id}.")
        if cases.link(connection, case.seq, other.seq):
            _noted(connection, case, actor, "linked", now, other=other.number)


def add_task(
    engine: sa.Engine,
    case_id: str,
    text: str,
    *,
    due_at: dt.datetime | None,
    assignee_id: str | None,
    actor: str,
    now: dt.datetime,
) -> None:
    """Put a task on a case."""
    text = _text(text, "a task", MAX_TASK_CHARS)
    with changing(engine, case_id) as (connection, case):
        _known_user(connection, assignee_id)
        case_papers.add_task(connection, case.seq, text, due_at=due_at, assignee_id=assignee_id)
        _noted(connection, case, actor, "task_added", now, text=text, assignee_id=assignee_id)


def finish_task(engine: sa.Engine, case_id: str, task_seq: int, *, actor: str, now: dt.datetime) -> None:
    """Say that a task is done."""
    with changing(engine, case_id) as (connection, case):
        if not case_papers.finish_task(connection, case.seq, task_seq, now=now):
            raise CaseError("Expected an open task of this case.")
        _noted(connection, case, actor, "task_done", now, task=task_seq)


def add_note(
    engine: sa.Engine,
    recordings: Recordings,
    case_id: str,
    text: str,
    files: Sequence[tuple[str, bytes]] = (),
    *,
    actor: str,
    now: dt.datetime,
) -> None:
    """Write a note, with files that are kept by their SHA-256."""
    text = _text(text, "a note", MAX_NOTE_CHARS)
    for name, data in files:
        if not 1 <= len(data) <= MAX_ATTACHMENT_BYTES:
            raise CaseError(f"Expected {name} to have 1 to {MAX_ATTACHMENT_BYTES} bytes, got {len(data)}.")
    # On disk before the row that names them.
    kept = [
        (
            name.replace("\\", "/").rsplit("/", 1)[-1][-255:] or "file",
            case_papers.keep(recordings, data),
            len(data),
        )
        for name, data in files
    ]
    with changing(engine, case_id) as (connection, case):
        seq = case_papers.add_note(connection, case.seq, text, kept, author=actor, now=now)
        listed = [{"name": name, "sha256": sha256} for name, sha256, _ in kept]
        _noted(connection, case, actor, "noted", now, note=seq, attachments=listed)


def close(
    engine: sa.Engine, case_id: str, outcome: str, reason: str, *, actor: str, now: dt.datetime
) -> None:
    """Close a case with an outcome; its calls are no longer held.

    Raises
    ------
    CaseError
        A notice still waits for its answer, or there is no outcome or reason.
    """
    if outcome not in OUTCOMES:
        raise CaseError(f"Expected an outcome ({', '.join(OUTCOMES)}), got {outcome!r}.")
    reason = _text(reason, "a reason", MAX_NOTE_CHARS)
    with changing(engine, case_id) as (connection, case):
        open_ones = [one.number for one in notices.of_case(connection, case.seq) if one.state in WAITING]
        if open_ones:
            raise CaseError(
                f"Expected no notice to wait for an answer; {', '.join(open_ones)} do: withdraw them first."
            )
        held = cases.in_case(connection, case.seq)
        cases.update(connection, case, now=now, state=State.CLOSED, outcome=outcome, closed_at=now)
        cases.release(connection, held)
        cases.note(
            connection,
            case,
            actor=actor,
            action="closed",
            now=now,
            detail={"outcome": outcome, "reason": reason},
            audited=Action.CASE_CLOSED,
        )


def reopen(engine: sa.Engine, case_id: str, reason: str, *, actor: str, now: dt.datetime) -> None:
    """Open a closed case again."""
    reason = _text(reason, "a reason", MAX_NOTE_CHARS)
    with writing(engine) as connection:
        case = cases.get(connection, case_id, lock=True)
        if case is None or case.state is not State.CLOSED:
            raise CaseError("Expected a closed case.")
        cases.update(connection, case, now=now, state=State.OPEN, outcome=None, closed_at=None)
        settle(connection, case, now=now)
        cases.hold(connection, case.seq)
        _noted(connection, case, actor, "reopened", now, reason=reason)


def settle(connection: sa.Connection, case: Case, *, now: dt.datetime) -> None:
    """Bring an open case's state in line with its notices."""
    out = [one for one in notices.of_case(connection, case.seq) if one.state in notices.OUT]
    live = [one for one in out if one.state is not notices.State.WITHDRAWN]
    state = State.OPEN
    if live:
        state = State.NOTICED if any(one.state in WAITING for one in live) else State.ANSWERED
    cases.update(connection, case, now=now, state=state)


@contextlib.contextmanager
def changing(engine: sa.Engine, case_id: str) -> Iterator[tuple[sa.Connection, Case]]:
    """Open a transaction on an open case, which nobody else changes meanwhile.

    Raises
    ------
    CaseError
        There is no such case, or it is closed.
    """
    with writing(engine) as connection:
        case = cases.get(connection, case_id, lock=True)
        if case is None:
            raise CaseError("Expected the id of a case.")
        if case.state is State.CLOSED:
            raise CaseError(f"Expected an open case; {case.number} is closed. Open it again first.")
        yield connection, case


def _noted(
    connection: sa.Connection, case: Case, actor: str, action: str, now: dt.datetime, **detail: Any
) -> None:
    cases.note(connection, case, actor=actor, action=action, now=now, detail=detail)


def put(connection: sa.Connection, case: Case, object_ids: Sequence[str], *, now: dt.datetime) -> list[str]:
    """Put calls and campaigns into a case in the caller's transaction; return those that were not in it."""
    added = []
    for given in dict.fromkeys(object_ids):
        match = _ID.fullmatch(given)
        object_id: str | None = None
        if match is not None and match[1] == "campaign":
            resolved = campaigns.resolve(connection, given)
            object_id = resolved[1] if resolved else None
        elif match is not None:
            object_id = connection.scalar(sa.select(schema.calls.c.id).where(schema.calls.c.id == given))
        if match is None or object_id is None:
            raise CaseError(f"Expected the id of a call or a campaign, got {given}.")
        if cases.add_member(connection, case.seq, match[1], object_id, now=now):
            added.append(object_id)
    if len(cases.members(connection, case.seq)) > MAX_MEMBERS:
        raise CaseError(f"Expected at most {MAX_MEMBERS} calls and campaigns in a case.")
    if added:
        cases.hold(connection, case.seq)
    return added


def _known_user(connection: sa.Connection, user_id: str | None) -> None:
    table = schema.users.c
    if user_id is not None and not connection.scalar(sa.select(sa.exists().where(table.id == user_id))):
        raise CaseError("Expected the id of an account.")


def _text(given: str, what: str, most: int) -> str:
    text = given.replace("\0", "").strip()
    if not 1 <= len(text) <= most:
        raise CaseError(f"Expected {what} of 1 to {most} characters, got {len(text)}.")
    return text
