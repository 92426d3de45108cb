"""Cases: what goes in, who changes them, what stands in their history for ever."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.enforcement.bureau import Bureau
from tests.store.conftest import NOW
from voiceguard.enforcement import cases as acts
from voiceguard.enforcement.cases import CaseError
from voiceguard.store import case_papers, cases, retention, schema
from voiceguard.store.cases import State
from voiceguard.store.engine import reading, writing
from voiceguard.store.recordings import Recordings


@pytest.fixture
def bureau(engine: sa.Engine, tmp_path: Path) -> Bureau:
    with writing(engine) as connection:
        connection.execute(sa.insert(schema.carriers).values(id="carrier_1", name="First Telecom"))
    return Bureau(engine, Recordings(str(tmp_path / "recordings"), tmp_path / "data"))


def _history(bureau: Bureau, seq: int) -> list[str]:
    with reading(bureau.engine) as connection:
        return [event.action for event in cases.history(connection, seq)]


def test_a_case_is_filled_and_every_act_is_in_its_history_and_the_log(bureau: Bureau) -> None:
    first, second = bureau.call(), bureau.call(b"other")
    case = bureau.case(first)
    assert case.number == f"{NOW:%Y}-{case.seq:04}"
    how = {"actor": "user_1", "now": bureau.now}
    assert acts.add(bureau.engine, case.id, [first, second], **how) == [second]
    acts.add_task(bureau.engine, case.id, "Ask the gateway", due_at=None, assignee_id=None, **how)
    with reading(bureau.engine) as connection:
        (task,) = case_papers.tasks(connection, case.seq)
    acts.finish_task(bureau.engine, case.id, task.seq, **how)
    files = [("../../letter.pdf", b"%PDF-")]
    acts.add_note(bureau.engine, bureau.recordings, case.id, "Came by post.", files, **how)
    with reading(bureau.engine) as connection:
        (note,) = case_papers.notes(connection, case.seq)
    (letter,) = note.attachments
    assert (letter.name, case_papers.kept(bureau.recordings, letter.sha256)) == ("letter.pdf", b"%PDF-")
    other = bureau.case(title="The same script")
    acts.link(bureau.engine, case.id, other.number, **how)
    acts.remove(bureau.engine, case.id, first, **how)
    acts.change(bureau.engine, case.id, title="Bail scam, spring", owner_id=None, **how)
    acts.close(bureau.engine, case.id, "stopped", "No calls for a month.", **how)
    with pytest.raises(CaseError, match="is closed"):
        acts.add(bureau.engine, case.id, [first], **how)
    acts.reopen(bureau.engine, case.id, "They are back.", **how)
    assert _history(bureau, case.seq) == [
        "opened", "added", "task_added", "task_done", "noted", "linked", "removed", "changed", "closed",
        "reopened",
    ]  # fmt: skip
    with reading(bureau.engine) as connection:
        log = connection.scalars(
            sa.select(schema.audit_log.c.entry).where(schema.audit_log.c.object == case.id)
        ).all()
        assert [one.number for one in cases.linked(connection, other.seq)] == [case.number]
    assert len(log) == 10
    assert "Bail scam, spring" in log[7]


def test_nobody_can_change_or_delete_a_line_of_history(bureau: Bureau) -> None:
    bureau.case()
    for statement in ("UPDATE case_history SET actor = 'x'", "DELETE FROM case_history"):
        with pytest.raises(sa.exc.DBAPIError, match="append-only"), writing(bureau.engine) as connection:
            connection.execute(sa.text(statement))


def test_calls_of_an_open_case_outlive_their_retention(bureau: Bureau) -> None:
    kept, alone = bureau.call(b"one"), bureau.call(b"two")
    first, second = bureau.case(kept), bureau.case(kept)
    later = bureau.now + dt.timedelta(days=400)

    def _expire() -> set[str]:
        retention.expire(bureau.engine, bureau.recordings, {"synthetic": 30}, later)
        with reading(bureau.engine) as connection:
            return set(connection.scalars(sa.select(schema.calls.c.id)))

    assert _expire() == {kept}
    assert alone not in _expire()
    acts.close(bureau.engine, first.id, "stopped", "Over.", actor="user_1", now=bureau.now)
    assert _expire() == {kept}  # the other case needs it still
    acts.close(bureau.engine, second.id, "stopped", "Over.", actor="user_1", now=bureau.now)
    assert _expire() == set()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"title": ""}, "a title of 1 to 200 characters"),
        ({"title": "x" * 201}, "a title of 1 to 200 characters"),
        ({"object_ids": ["call_x"]}, "id of a call or a campaign, got call_x"),
        ({"object_ids": ["campaign_" + "0" * 32]}, "id of a call or a campaign"),
        ({"owner_id": "user_x"}, "id of an account"),
    ],
)
def test_what_can_be_no_case_says_why(bureau: Bureau, values: dict[str, object], said: str) -> None:
    given = {"title": "Bail scam", "owner_id": None} | values
    with pytest.raises(CaseError, match=said):
        acts.open_case(bureau.engine, actor="user_1", now=bureau.now, **given)  # type: ignore[arg-type]
    with reading(bureau.engine) as connection:
        assert cases.page(connection, state=None, limit=5) == []


def test_cases_are_listed_by_state_and_page(bureau: Bureau) -> None:
    made = [bureau.case(title=f"Case {n}") for n in range(3)]
    acts.close(bureau.engine, made[1].id, "unfounded", "A person spoke.", actor="user_1", now=bureau.now)
    with reading(bureau.engine) as connection:
        listed = cases.page(connection, state=State.OPEN, limit=5)
        assert [one.case.id for one in listed] == [made[2].id, made[0].id]
        (before,) = cases.page(connection, state=None, before_seq=made[1].seq, limit=1)
        assert dataclasses.replace(before.case, changed_at=made[0].changed_at) == made[0]
        assert cases.counts(connection) == {State.OPEN: 2, State.CLOSED: 1}
