from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.store.conftest import NOW, keep
from voiceguard.errors import RecordingsUnavailable
from voiceguard.store import calls, retention, schema
from voiceguard.store.calls import NewCall
from voiceguard.store.engine import reading, writing
from voiceguard.store.recordings import Recordings
from voiceguard.store.retention import ORPHAN_AGE
from voiceguard.verdict import Verdict

StoreCall = Callable[..., tuple[NewCall, object]]
DAY = dt.timedelta(days=1)


def _left(engine: sa.Engine) -> list[str]:
    with reading(engine) as connection:
        return list(connection.scalars(sa.select(schema.calls.c.id).order_by(schema.calls.c.seq)))


def test_calls_go_when_their_verdicts_time_is_over(
    engine: sa.Engine, recordings: Recordings, store_call: StoreCall
) -> None:
    human, _ = store_call(b"1", received_at=NOW)
    flag, _ = store_call(b"2", received_at=NOW, verdict=Verdict.SYNTHETIC)
    held, _ = store_call(b"3", received_at=NOW)
    with writing(engine) as connection:
        connection.execute(sa.update(schema.calls).where(schema.calls.c.id == held.id).values(held=True))
    policy = {"human": 90, "inconclusive": 30}
    assert retention.expire(engine, recordings, policy, NOW + 90 * DAY) == 0
    assert retention.expire(engine, recordings, policy, NOW + 91 * DAY) == 1
    assert _left(engine) == [flag.id, held.id]
    with reading(engine) as connection:
        stone = retention.tombstone(connection, human.id, carrier_id=human.carrier_id)
        assert retention.tombstone(connection, human.id, carrier_id="carrier_2") is None
    assert stone is not None
    assert stone.recording_deleted
    assert (stone.actor, stone.reason) == ("retention", "human after 90 days")
    assert not recordings.exists(stone.recording_sha256)


def test_a_shared_recording_outlives_one_of_its_calls(
    engine: sa.Engine, recordings: Recordings, store_call: StoreCall
) -> None:
    first, _ = store_call(b"same")
    second, _ = store_call(b"same")
    assert retention.delete_call(engine, recordings, first.id, actor="a", reason="b")
    with reading(engine) as connection:
        stone = retention.tombstone(connection, first.id)
    assert stone is not None
    assert not stone.recording_deleted
    assert recordings.exists(stone.recording_sha256)
    assert retention.delete_call(engine, recordings, second.id, actor="a", reason="b")
    assert not recordings.exists(stone.recording_sha256)
    assert not retention.delete_call(engine, recordings, second.id, actor="a", reason="b")


def test_a_stored_answer_goes_with_its_call(
    engine: sa.Engine, recordings: Recordings, store_call: StoreCall
) -> None:
    call, _ = store_call()
    with writing(engine) as connection:
        connection.execute(
            sa.insert(schema.idempotency).values(
                carrier_id=call.carrier_id,
                key="k",
                fingerprint="f",
                call_id=call.id,
                status=201,
                body="+12025550123",
            )
        )
    retention.delete_call(engine, recordings, call.id, actor="a", reason="b")
    with reading(engine) as connection:
        assert connection.execute(sa.select(schema.idempotency)).all() == []


def test_nothing_is_deleted_by_halves(
    engine: sa.Engine, store_call: StoreCall, recordings: Recordings, tmp_path: Path
) -> None:
    if not recordings.is_local:
        pytest.skip("a bucket has no folder to take away")
    call, _ = store_call()
    folder = next((tmp_path / "recordings" / "sha256").glob("*"))
    if os.geteuid() == 0:  # root may delete anywhere, but not a folder as if it were a file
        name = next(folder.iterdir())
        name.rename(tmp_path / "kept")
        name.mkdir()
    else:
        folder.chmod(0o500)
    with pytest.raises(RecordingsUnavailable):
        retention.delete_call(engine, recordings, call.id, actor="a", reason="b")
    with reading(engine) as connection:
        assert calls.get(connection, call.id) is not None
        assert retention.tombstone(connection, call.id) is None


def test_orphans_are_removed_when_they_are_old(
    engine: sa.Engine, recordings: Recordings, store_call: StoreCall
) -> None:
    store_call(b"of a call")
    orphan = keep(recordings, b"of no call")
    now = dt.datetime.now(dt.UTC)
    assert retention.remove_orphans(engine, recordings, now) == 0
    assert retention.remove_orphans(engine, recordings, now + ORPHAN_AGE + DAY) == 1
    assert not recordings.exists(orphan)
    assert len(list(recordings.walk())) == 1
    with reading(engine) as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(schema.recordings)) == 1
