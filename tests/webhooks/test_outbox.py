from __future__ import annotations

import datetime as dt
import json
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from tests.webhooks.conftest import Clock
from voiceguard.store import deliveries, endpoints, outbox, schema
from voiceguard.store.engine import reading, writing
from voiceguard.store.outbox import Claim, EventType, Outcome, State

RNG = random.Random(5)
SCREENED = EventType.CALL_SCREENED


@pytest.fixture
def add(engine: sa.Engine, carrier: str, clock: Clock) -> Callable[..., str]:
    def _add(*events: str, of: str = carrier) -> str:
        with writing(engine) as connection:
            endpoint, _ = endpoints.add(
                connection,
                carrier_id=of,
                url="https://example.com/hooks",
                events=events or (SCREENED,),
                now=clock(),
            )
        return endpoint.id

    return _add


@pytest.fixture
def emit(engine: sa.Engine, carrier: str, clock: Clock) -> Callable[..., str | None]:
    def _emit(data: dict[str, Any] | None = None, event: EventType = SCREENED, **more: Any) -> str | None:
        with writing(engine) as connection:
            return outbox.enqueue(connection, event, carrier, data or {}, now=clock(), **more)

    return _emit


def _claim(engine: sa.Engine, clock: Clock, limit: int = 100, each: int = 100) -> list[Claim]:
    return outbox.claim(engine, clock(), room={}, limit=limit, each=each)


def _record(engine: sa.Engine, claim: Claim, clock: Clock, status: int | None, **more: Any) -> State:
    error = None if status and 200 <= status < 300 else "status"
    return outbox.record(engine, claim, Outcome(clock(), 0.5, status, error, **more), RNG)


def _states(connection: sa.Connection, endpoint: str) -> list[State]:
    return [delivery.state for delivery in deliveries.page(connection, endpoint, limit=9)]


def test_an_event_goes_to_each_endpoint_that_wants_it(
    engine: sa.Engine, add: Callable[..., str], emit: Callable[..., str | None], clock: Clock
) -> None:
    both, flagged = add(SCREENED, EventType.CALL_FLAGGED), add(EventType.CALL_FLAGGED)
    with writing(engine) as connection:
        connection.execute(sa.insert(schema.carriers).values(id="carrier_2", name="Second Telecom"))
    add(SCREENED, of="carrier_2")
    first, second = emit({"n": 1}), emit({"n": 2}, EventType.CALL_FLAGGED)
    claims = _claim(engine, clock)
    assert {(claim.event_id, claim.endpoint_id) for claim in claims} == {
        (first, both),
        (second, both),
        (second, flagged),
    }
    body = json.loads(next(claim.body for claim in claims if claim.event_id == first))
    at = clock().isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert body == {"type": "call.screened", "timestamp": at, "data": {"n": 1}}


def test_nothing_is_written_where_nobody_listens(
    engine: sa.Engine, carrier: str, add: Callable[..., str], emit: Callable[..., str | None], clock: Clock
) -> None:
    endpoint = add()
    with writing(engine) as connection:
        endpoints.change(connection, endpoint, carrier_id=carrier, enabled=False, now=clock())
    assert emit() is None
    with reading(engine) as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(schema.outbox)) == 0


def test_the_event_falls_with_the_transaction(
    engine: sa.Engine, carrier: str, add: Callable[..., str], clock: Clock
) -> None:
    add()
    with writing(engine) as connection:
        assert outbox.enqueue(connection, SCREENED, carrier, {}) is not None
        connection.rollback()
    assert _claim(engine, clock) == []


@pytest.mark.parametrize("data", [{"x": "y" * 20_000}, {"x": "é" * 4_000}, {"x": float("nan")}])
def test_data_that_no_receiver_should_get_is_refused(
    engine: sa.Engine, add: Callable[..., str], emit: Callable[..., str | None], data: dict[str, Any]
) -> None:
    add()
    with pytest.raises(ValueError, match=r"expected data of at most|not JSON compliant"):
        emit(data)


def test_a_claim_is_one_senders_until_its_lease_ends(
    engine: sa.Engine, add: Callable[..., str], emit: Callable[..., str | None], clock: Clock
) -> None:
    add()
    event = emit()
    (first,) = _claim(engine, clock)
    assert _claim(engine, clock) == []
    clock.forward(outbox.LEASE.total_seconds() - 1)
    assert _claim(engine, clock) == []
    clock.forward(1)
    (second,) = _claim(engine, clock)
    assert (second.event_id, second.delivery_id, second.attempts) == (event, first.delivery_id, 0)
    assert second.lease != first.lease
    # The first sender comes back late: its failure changes nothing that the second one holds.
    assert _record(engine, first, clock, 500) is State.PENDING
    assert _claim(engine, clock) == []
    # Its success would count.
    assert _record(engine, first, clock, 200) is State.DELIVERED
    clock.forward(10_000)
    assert _claim(engine, clock) == []


def test_senders_share_what_is_due(
    engine: sa.Engine, add: Callable[..., str], emit: Callable[..., str | None], clock: Clock
) -> None:
    add()
    events = {emit() for _ in range(60)}
    taken: list[Claim] = []

    def _take() -> None:
        while found := _claim(engine, clock, limit=7):
            taken.extend(found)

    threads = [threading.Thread(target=_take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 60
    assert {claim.event_id for claim in taken} == events


def test_the_schedule_ends_after_ten_attempts_in_three_days(
    engine: sa.Engine, add: Callable[..., str], emit: Callable[..., str | None], clock: Clock
) -> None:
    endpoint, began = add(), clock()
    emit()
    waits_s = []
    for attempt in range(10):
        (claim,) = _claim(engine, clock)
        assert claim.attempts == attempt
        state = _record(engine, claim, clock, 503)
        with reading(engine) as connection:
            (delivery,) = deliveries.page(connection, endpoint, limit=10)
        assert delivery.state is state
        assert len(delivery.attempts) == attempt + 1
        if delivery.next_attempt_at is not None:
            waits_s.append((delivery.next_attempt_at - clock()).total_seconds())
            clock.forward(waits_s[-1] - 1)
            assert _claim(engine, clock) == []
            clock.forward(1)
    assert state is State.FAILED
    planned_s = (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
    assert all(
        planned <= wait - 0.5 <= 1.2 * planned for planned, wait in zip(planned_s, waits_s, strict=True)
    )
    assert len({round(wait / planned, 6) for planned, wait in zip(planned_s, waits_s, strict=True)}) > 5
    assert dt.timedelta(days=3) < clock() - began < dt.timedelta(days=4)
    clock.forward(1e6)
    assert _claim(engine, clock) == []


@given(attempts=st.integers(0, 20), asked_s=st.none() | st.floats(-1e9, 1e12), seed=st.integers())
def test_retry_after_lengthens_a_delay_within_bounds(attempts: int, asked_s: float | None, seed: int) -> None:
    delay_s = outbox.next_delay_s(attempts, asked_s, random.Random(seed))
    plain_s = outbox.next_delay_s(attempts, None, random.Random(seed))
    if delay_s is None or plain_s is None:
        assert attempts >= 9
        assert delay_s is plain_s is None
        return
    assert delay_s == max(plain_s, min(asked_s or 0.0, 86_400.0))
    assert plain_s <= delay_s <= 1.2 * 86_400.0


def test_an_endpoint_that_is_gone_is_disabled_and_its_deliveries_end(
    engine: sa.Engine, carrier: str, add: Callable[..., str], emit: Callable[..., str | None], clock: Clock
) -> None:
    endpoint, other = add(), add()
    emit()
    emit()
    claims = [claim for claim in _claim(engine, clock) if claim.endpoint_id == endpoint]
    assert _record(engine, claims[0], clock, 410) is State.FAILED
    with reading(engine) as connection:
        found = endpoints.get(connection, endpoint, carrier_id=carrier)
        states = [delivery.state for delivery in deliveries.page(connection, endpoint, limit=9)]
        assert _states(connection, other) == [State.PENDING, State.PENDING]
    assert found is not None
    assert (found.disabled_at is not None, found.disabled_reason) == (True, "answered 410 Gone")
    assert states == [State.FAILED, State.FAILED]
    assert _record(engine, claims[1], clock, 500) is State.FAILED
    with reading(engine) as connection:
        assert _states(connection, endpoint) == [State.FAILED, State.FAILED]
    assert emit() is not None
    assert {claim.endpoint_id for claim in _claim(engine, clock)} == {other}


def test_a_disabled_endpoint_waits_and_goes_on_when_enabled(
    engine: sa.Engine, carrier: str, add: Callable[..., str], emit: Callable[..., str | None], clock: Clock
) -> None:
    endpoint = add()
    event = emit()
    with writing(engine) as connection:
        endpoints.change(connection, endpoint, carrier_id=carrier, enabled=False, now=clock())
    assert _claim(engine, clock) == []
    with writing(engine) as connection:
        endpoints.change(connection, endpoint, carrier_id=carrier, enabled=True, now=clock())
    assert [claim.event_id for claim in _claim(engine, clock)] == [event]


def test_a_slow_endpoint_takes_no_more_than_its_share(
    engine: sa.Engine, add: Callable[..., str], emit: Callable[..., str | None], clock: Clock
) -> None:
    slow, quick = add(), add(EventType.CALL_FLAGGED)
    for _ in range(10):
        emit()
    emit(event=EventType.CALL_FLAGGED)
    claims = outbox.claim(engine, clock(), room={}, limit=6, each=4)
    assert sorted(claim.endpoint_id for claim in claims) == sorted([slow] * 4 + [quick])
    assert outbox.claim(engine, clock(), room={slow: 0, quick: 3}, limit=6, each=4) == []
    assert len(outbox.claim(engine, clock(), room={slow: 1}, limit=6, each=4)) == 1


def test_a_delivery_can_be_replayed_under_its_id(
    engine: sa.Engine, add: Callable[..., str], emit: Callable[..., str | None], clock: Clock
) -> None:
    endpoint, other = add(), add(EventType.CALL_FLAGGED)
    emit()
    (claim,) = _claim(engine, clock)
    _record(engine, claim, clock, 200)
    with writing(engine) as connection:
        assert not deliveries.replay(connection, claim.delivery_id, endpoint_id=other, now=clock())
        assert deliveries.replay(connection, claim.delivery_id, endpoint_id=endpoint, now=clock())
    (again,) = _claim(engine, clock)
    assert (again.event_id, again.body, again.attempts) == (claim.event_id, claim.body, 0)
    _record(engine, again, clock, 200)
    with reading(engine) as connection:
        (delivery,) = deliveries.page(connection, endpoint, limit=5)
    assert (delivery.state, len(delivery.attempts)) == (State.DELIVERED, 2)


def test_both_secrets_sign_until_the_overlap_ends(
    engine: sa.Engine, carrier: str, add: Callable[..., str], emit: Callable[..., str | None], clock: Clock
) -> None:
    endpoint = add()
    emit()
    (before,) = _claim(engine, clock)
    with writing(engine) as connection:
        assert endpoints.rotate_secret(connection, endpoint, carrier_id="carrier_2", now=clock()) is None
        rotated = endpoints.rotate_secret(connection, endpoint, carrier_id=carrier, now=clock())
    assert rotated is not None
    clock.forward(3600)
    (during,) = _claim(engine, clock)
    assert during.secrets == (rotated[1], *before.secrets)
    clock.forward(24 * 3600)
    (after,) = _claim(engine, clock)
    assert after.secrets == (rotated[1],)


def test_a_deleted_endpoint_takes_its_deliveries_along(
    engine: sa.Engine, carrier: str, add: Callable[..., str], emit: Callable[..., str | None], clock: Clock
) -> None:
    endpoint = add()
    emit()
    (claim,) = _claim(engine, clock)
    with writing(engine) as connection:
        assert not endpoints.remove(connection, endpoint, carrier_id="carrier_2")
        assert endpoints.remove(connection, endpoint, carrier_id=carrier)
    assert _record(engine, claim, clock, 200) is State.FAILED
    with reading(engine) as connection:
        assert deliveries.backlog(connection) == 0


def test_old_events_are_tidied_away_but_never_a_pending_one(
    engine: sa.Engine, add: Callable[..., str], emit: Callable[..., str | None], clock: Clock
) -> None:
    endpoint = add()
    emit({"n": 1})
    (claim,) = _claim(engine, clock)
    _record(engine, claim, clock, 200)
    pending = emit({"n": 2})
    with reading(engine) as connection:
        assert deliveries.backlog(connection) == 1
    assert deliveries.tidy(engine, clock()) == 0
    clock.forward(deliveries.KEEP.total_seconds() + 1)
    assert deliveries.tidy(engine, clock()) == 1
    with reading(engine) as connection:
        assert [one.event_id for one in deliveries.page(connection, endpoint, limit=5)] == [pending]
        assert connection.scalar(sa.select(sa.func.count()).select_from(schema.delivery_attempts)) == 0
