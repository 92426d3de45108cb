from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from tests.store.conftest import NOW, screening_of
from voiceguard.errors import RecordingsUnavailable
from voiceguard.store import calls, schema
from voiceguard.store.calls import Filter, NewCall
from voiceguard.store.engine import reading, writing
from voiceguard.store.recordings import Recordings
from voiceguard.verdict import Verdict

StoreCall = Callable[..., tuple[NewCall, object]]


def _ids(engine: sa.Engine, wanted: Filter, **page: int | None) -> list[str]:
    with reading(engine) as connection:
        found = calls.page(connection, wanted, **{"before_seq": None, "limit": 100, **page})  # type: ignore[arg-type]
    return [call.id for call, _ in found]


def test_a_call_comes_back_as_it_was_stored(engine: sa.Engine, store_call: StoreCall) -> None:
    call, screening = store_call(
        caller="+12025550123", attestation={"level": "A"}, passports=[{"ppt": "shaken"}], remote_channel=0
    )
    with reading(engine) as connection:
        found = calls.get(connection, call.id, carrier_id=call.carrier_id)
        assert calls.get(connection, call.id, carrier_id="carrier_2") is None
        assert calls.get(connection, "call_x") is None
    assert found is not None
    stored, stored_screening = found
    assert {name: getattr(stored, name) for name in vars(call)} == vars(call)
    assert stored.campaign_id is None
    # The recording's row is written once, so its own length counts.
    assert stored_screening == screening


def test_every_filter_lets_the_right_calls_through(engine: sa.Engine, store_call: StoreCall) -> None:
    hour = dt.timedelta(hours=1)
    old, _ = store_call(b"1", caller="+12025550101", started_at=NOW - hour, score=-4.0)
    flag, _ = store_call(b"2", callee="+12025550102", verdict=Verdict.SYNTHETIC, score=5.0)
    late, _ = store_call(b"3", started_at=NOW + hour, verdict=Verdict.INCONCLUSIVE, score=1.0)
    with writing(engine) as connection:
        connection.execute(
            sa.update(schema.calls).where(schema.calls.c.id == late.id).values(campaign_id="c1")
        )
    carrier = old.carrier_id
    for wanted, expected in (
        (Filter(), [late, flag, old]),
        (Filter(carrier_id=carrier), [late, flag, old]),
        (Filter(carrier_id="carrier_2"), []),
        (Filter(verdict=Verdict.SYNTHETIC), [flag]),
        (Filter(caller="+12025550101"), [old]),
        (Filter(callee="+12025550102"), [flag]),
        (Filter(campaign_id="c1"), [late]),
        (Filter(started_from=NOW), [late, flag]),
        (Filter(started_to=NOW), [old]),
        (Filter(started_from=NOW, started_to=NOW + hour), [flag]),
        (Filter(score_from=1.0), [late, flag]),
        (Filter(score_to=1.0), [old]),
        (Filter(score_from=-4.0, score_to=2.0), [late, old]),
    ):
        assert _ids(engine, wanted) == [call.id for call in expected], wanted


def test_pages_follow_the_order_of_arrival_whatever_the_clock_says(
    engine: sa.Engine, store_call: StoreCall
) -> None:
    stored = [store_call(bytes([n]), received_at=NOW - n * dt.timedelta(hours=1))[0].id for n in range(5)]
    with reading(engine) as connection:
        first = calls.page(connection, Filter(), before_seq=None, limit=2)
    rest = _ids(engine, Filter(), before_seq=first[-1][0].seq)
    assert [call.id for call, _ in first] + rest == stored[::-1]


def test_one_recording_serves_two_calls(engine: sa.Engine, store_call: StoreCall) -> None:
    store_call(b"same")
    store_call(b"same")
    with reading(engine) as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(schema.recordings)) == 1
        assert connection.scalar(sa.select(sa.func.count()).select_from(schema.calls)) == 2


def test_a_call_whose_recording_is_gone_is_not_stored(
    engine: sa.Engine, recordings: Recordings, carrier: str
) -> None:
    call = NewCall(id="call_1", carrier_id=carrier, started_at=NOW, received_at=NOW)
    with pytest.raises(RecordingsUnavailable), writing(engine) as connection:
        calls.insert(connection, recordings, call, screening_of("0" * 64))
    assert _ids(engine, Filter()) == []
