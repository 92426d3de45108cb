"""What stands by a call's decisions, and what two reviewers do to each other."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.store.conftest import NOW, keep, screening_of
from voiceguard.enforcement import decisions as deciding
from voiceguard.enforcement.agreement import agreements, kappa
from voiceguard.enforcement.decisions import Choice, DecisionError, Made
from voiceguard.store import audit, calls, decisions, people, queue, schema
from voiceguard.store.calls import NewCall
from voiceguard.store.decisions import Action, State, Why
from voiceguard.store.engine import reading, writing
from voiceguard.store.people import Role, User
from voiceguard.store.recordings import Recordings
from voiceguard.verdict import Verdict

CONFIRM = Choice(Action.CONFIRM, "synthetic_heard", "Even rhythm.")
DISMISS = Choice(Action.DISMISS, "person_heard", "Breathes.")
ESCALATE = Choice(Action.ESCALATE, "harm", "Asks for money.")
SECOND = Choice(Action.SECOND, "unsure", "Can't tell.")
Store = Callable[..., str]


@pytest.fixture
def store(engine: sa.Engine, tmp_path: Path) -> Store:
    recordings = Recordings(str(tmp_path / "recordings"), tmp_path / "data")
    with writing(engine) as connection:
        connection.execute(sa.insert(schema.carriers).values(id="carrier_1", name="First Telecom"))

    def _store(
        number: int, verdict: Verdict = Verdict.SYNTHETIC, score: float = 5.0, share: float = 0.0
    ) -> str:
        call_id = "call_" + hashlib.sha256(str(number).encode()).hexdigest()[:32]
        screening = screening_of(keep(recordings, str(number).encode()), verdict, score)
        call = NewCall(
            id=call_id,
            carrier_id="carrier_1",
            started_at=NOW - dt.timedelta(hours=number),
            received_at=NOW,
            caller=f"+1202555{number:04}",
        )
        with writing(engine) as connection:
            calls.insert(connection, recordings, call, screening)
            decisions.enrol(connection, call_id, screening, random_share=share)
        return call_id

    return _store


@pytest.fixture
def team(engine: sa.Engine) -> dict[str, User]:
    roles = {"ann": Role.ANALYST, "bob": Role.ANALYST, "sue": Role.SUPERVISOR, "kim": Role.AUDITOR}
    return {name: people.create(engine, name, role, password="x" * 12).user for name, role in roles.items()}


def decide(
    engine: sa.Engine, call_id: str, user: User, choice: Choice, seen: int, share: float = 0.0
) -> Made:
    return deciding.decide(engine, call_id, choice, user, seen_version=seen, second_share=share, now=NOW)


def state(engine: sa.Engine, call_id: str) -> tuple[State, str | None]:
    with reading(engine) as connection:
        review = decisions.find(connection, call_id)
    assert review is not None
    return review.state, review.outcome


def test_a_decision_stands_and_is_taken_back(engine: sa.Engine, store: Store, team: dict[str, User]) -> None:
    call_id = store(1)
    made = decide(engine, call_id, team["ann"], CONFIRM, 0)
    assert state(engine, call_id) == (State.DECIDED, "confirmed")
    with pytest.raises(DecisionError, match="your own"):
        deciding.undo(engine, made.seq, team["bob"], NOW)
    deciding.undo(engine, made.seq, team["ann"], NOW)
    assert state(engine, call_id) == (State.OPEN, None)
    with pytest.raises(DecisionError, match="another one was made since"):
        deciding.undo(engine, made.seq, team["ann"], NOW)
    with reading(engine) as connection:
        kept = decisions.of_call(connection, call_id)
        logged = [row.fields["action"] for row in audit.rows_of(connection, [call_id])]
    assert [row.action for row in kept] == [Action.CONFIRM, Action.UNDO]
    assert logged == ["call.decided", "call.decided"]


def test_a_second_opinion_is_blind_and_settles_or_escalates(
    engine: sa.Engine, store: Store, team: dict[str, User]
) -> None:
    alike, unlike = store(1), store(2)
    for call_id in (alike, unlike):
        assert decide(engine, call_id, team["ann"], CONFIRM, 0, share=1.0).state is State.SECOND
        with pytest.raises(DecisionError, match="the second one is another's"):
            decide(engine, call_id, team["ann"], CONFIRM, 1)
    decide(engine, alike, team["bob"], CONFIRM, 1)
    assert state(engine, alike) == (State.DECIDED, "confirmed")
    made = decide(engine, unlike, team["bob"], DISMISS, 1)
    assert made.told is not None
    assert "differ" in made.told
    assert state(engine, unlike) == (State.ESCALATED, None)
    with pytest.raises(DecisionError, match="supervisor"):
        decide(engine, unlike, team["bob"], CONFIRM, 2)
    decide(engine, unlike, team["sue"], DISMISS, 2)
    assert state(engine, unlike) == (State.DECIDED, "dismissed")
    with reading(engine) as connection:
        (found,) = agreements(connection)
    assert (found.pairs, found.agreed) == (2, 1)
    assert (found.overturned.count, found.overturned.total) == (1, 2)


def test_of_two_at_once_neither_is_lost(engine: sa.Engine, store: Store, team: dict[str, User]) -> None:
    call_id = store(1)
    with ThreadPoolExecutor(2) as threads:
        made = list(
            threads.map(
                lambda one: decide(engine, call_id, team[one[0]], one[1], 0),
                [("ann", CONFIRM), ("bob", DISMISS)],
            )
        )
    assert [one.told is None for one in made].count(True) == 1
    assert state(engine, call_id) == (State.ESCALATED, None)
    with reading(engine) as connection:
        assert len(decisions.of_call(connection, call_id)) == 2


def test_one_who_escalated_is_not_overruled_by_a_slower_page(
    engine: sa.Engine, store: Store, team: dict[str, User]
) -> None:
    call_id = store(1)
    decide(engine, call_id, team["ann"], ESCALATE, 0)
    assert decide(engine, call_id, team["bob"], CONFIRM, 0).told is not None
    assert state(engine, call_id)[0] is State.ESCALATED


def test_a_request_for_help_is_answered_by_another(
    engine: sa.Engine, store: Store, team: dict[str, User]
) -> None:
    call_id = store(1)
    assert decide(engine, call_id, team["ann"], SECOND, 0).state is State.SECOND
    with pytest.raises(DecisionError, match="confirm, dismiss or escalate"):
        decide(engine, call_id, team["bob"], SECOND, 1)
    decide(engine, call_id, team["bob"], DISMISS, 1)
    assert state(engine, call_id) == (State.DECIDED, "dismissed")


def test_what_is_decided_only_its_author_or_a_supervisor_decides_anew(
    engine: sa.Engine, store: Store, team: dict[str, User]
) -> None:
    call_id = store(1)
    decide(engine, call_id, team["ann"], CONFIRM, 0)
    with pytest.raises(DecisionError, match="supervisor"):
        decide(engine, call_id, team["bob"], DISMISS, 1)
    decide(engine, call_id, team["ann"], DISMISS, 1)
    assert state(engine, call_id) == (State.DECIDED, "dismissed")
    decide(engine, call_id, team["sue"], CONFIRM, 2)
    assert state(engine, call_id) == (State.DECIDED, "confirmed")


@pytest.mark.parametrize(
    "choice",
    [
        Choice(Action.CONFIRM, "", "note"),
        Choice(Action.CONFIRM, "person_heard", "note"),
        Choice(Action.DISMISS, "person_heard", " "),
        Choice(Action.UNDO, "undo", "note"),
    ],
)
def test_a_decision_needs_a_reason_of_its_own_and_a_note(
    engine: sa.Engine, store: Store, team: dict[str, User], choice: Choice
) -> None:
    call_id = store(1)
    with pytest.raises(DecisionError):
        decide(engine, call_id, team["ann"], choice, 0)
    assert state(engine, call_id) == (State.OPEN, None)


def test_an_auditor_decides_nothing(engine: sa.Engine, store: Store, team: dict[str, User]) -> None:
    with pytest.raises(DecisionError, match="only reads"):
        decide(engine, store(1), team["kim"], CONFIRM, 0)


def test_the_queue_pages_through_everything_once_in_each_order(engine: sa.Engine, store: Store) -> None:
    ids = {store(number, score=5.0 + number % 3) for number in range(7)}
    human = store(20, Verdict.HUMAN, -3.0)
    drawn = store(21, Verdict.HUMAN, -3.0, share=1.0)
    for order in queue.Order:
        for wanted, expected in (
            (queue.Wanted(order=order), {*ids, drawn}),
            (queue.Wanted(state=None, order=order), {*ids, drawn, human}),
            (queue.Wanted(order=order, why=Why.RANDOM), {drawn}),
        ):
            found, after = [], None
            while True:
                with reading(engine) as connection:
                    page = queue.page(connection, wanted, after=after, limit=2)
                if not page:
                    break
                found += page
                after = queue.cursor_of(page[-1])
            assert len(found) == len(expected)
            assert {one.call_id for one in found} == expected
    with reading(engine) as connection:
        strongest = queue.page(connection, queue.Wanted(why=Why.FLAGGED), after=None, limit=9)
        number = queue.page(connection, queue.Wanted(state=None, number="+12025550003"), after=None, limit=9)
        begins = queue.Wanted(state=None, number="+1202555000", number_prefix=True)
        assert len(queue.page(connection, begins, after=None, limit=20)) == 7
        back = queue.page(
            connection,
            queue.Wanted(why=Why.FLAGGED),
            after=queue.cursor_of(strongest[3]),
            limit=1,
            backwards=True,
        )
    assert [one.score for one in strongest] == sorted((one.score or 0 for one in strongest), reverse=True)
    assert back[0].call_id == strongest[2].call_id
    assert [one.caller for one in number] == ["+12025550003"]


@pytest.mark.parametrize("cursor", ["", "x", "W10", "WzEsMl0x", "bnVsbA", "[" * 60])
def test_a_foreign_cursor_is_refused(engine: sa.Engine, cursor: str) -> None:
    with reading(engine) as connection, pytest.raises(ValueError, match="cursor"):
        queue.page(connection, queue.Wanted(), after=cursor, limit=1)


def test_kappa_is_cohens() -> None:
    # The worked example of Cohen's paper has three categories; this one is the common 2×2 case.
    assert kappa(20, 15, 5, 10) == pytest.approx(0.4)
    assert kappa(0, 0, 0, 0) is None
    assert kappa(9, 0, 0, 0) is None
