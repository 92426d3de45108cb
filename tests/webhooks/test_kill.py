from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.webhooks.conftest import Clock
from tests.webhooks.receiver import Answer, Received, Receiver
from voiceguard.store import deliveries, endpoints, outbox
from voiceguard.store.engine import reading, writing
from voiceguard.store.outbox import EventType, State

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
EVENTS = 50
PATIENCE_S = 60


@contextlib.contextmanager
def _sender(url: str, ahead_s: float = 0.0) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tests.webhooks.sender_process", url, str(ahead_s)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=PATIENCE_S)
        assert b"Traceback" not in errors, errors.decode()


@pytest.fixture
def events(engine: sa.Engine, carrier: str, receiver: Receiver, clock: Clock) -> dict[str, int]:
    """Fifty events of one endpoint, by id."""
    found = {}
    with writing(engine) as connection:
        endpoints.add(
            connection,
            carrier_id=carrier,
            url=receiver.url,
            events=(EventType.CALL_SCREENED,),
            now=clock(),
        )
        for n in range(EVENTS):
            event = outbox.enqueue(connection, EventType.CALL_SCREENED, carrier, {"n": n}, now=clock())
            assert event is not None
            found[event] = n
    return found


def _check(engine: sa.Engine, receiver: Receiver, events: dict[str, int]) -> None:
    assert {
        (got.headers["webhook-id"], json.loads(got.body)["data"]["n"]) for got in receiver.requests
    } == set(events.items())
    assert [one.state for one in _deliveries(engine)] == [State.DELIVERED] * EVENTS


def _deliveries(engine: sa.Engine) -> list[deliveries.Delivery]:
    with reading(engine) as connection:
        (endpoint,) = endpoints.page(connection, carrier_id="carrier_1", before_seq=None, limit=5)
        return deliveries.page(connection, endpoint.id, limit=100)


def test_no_event_is_lost_to_kill_9(
    engine: sa.Engine, database_url: str, receiver: Receiver, events: dict[str, int]
) -> None:
    reached, answered = threading.Event(), threading.Event()

    def _answer_until_the_kill(_got: Received) -> Answer:
        if len(receiver.requests) >= EVENTS // 2:
            reached.set()
            answered.wait(PATIENCE_S)  # the sender dies with these requests under way
        return Answer(200)

    receiver.answer = _answer_until_the_kill
    with _sender(database_url) as process:
        assert reached.wait(PATIENCE_S)
        process.kill()
        process.wait(PATIENCE_S)
    answered.set()
    before = len(receiver.ids)
    waiting = {one.event_id for one in _deliveries(engine) if one.state is State.PENDING}
    assert EVENTS // 3 < len(waiting) < EVENTS
    assert set(receiver.ids) | waiting == set(events)
    all_there = threading.Event()

    def _answer(_got: Received) -> Answer:
        if waiting <= set(receiver.ids[before:]):
            all_there.set()
        return Answer(200)

    receiver.answer = _answer
    # Its clock is past the dead sender's leases. What had been sent but not recorded comes twice.
    with _sender(database_url, ahead_s=outbox.LEASE.total_seconds() + 1):
        assert all_there.wait(PATIENCE_S)
    _check(engine, receiver, events)
    assert len(receiver.ids) == before + len(waiting)


def test_two_senders_send_each_event_once(
    engine: sa.Engine, database_url: str, receiver: Receiver, events: dict[str, int]
) -> None:
    all_there = threading.Event()

    def _answer(_got: Received) -> Answer:
        if len(set(receiver.ids)) == EVENTS:
            all_there.set()
        return Answer(200)

    receiver.answer = _answer
    with _sender(database_url), _sender(database_url):
        assert all_there.wait(PATIENCE_S)
    assert len(receiver.ids) == EVENTS
    _check(engine, receiver, events)
