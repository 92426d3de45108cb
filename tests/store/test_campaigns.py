"""Campaigns through retention: numbers fall, fingerprints and index rows go."""

from __future__ import annotations

import numpy as np
import pytest
import sqlalchemy as sa

from tests.enforcement.conftest import Desk, desk, printed, through, voices
from tests.enforcement.test_join import campaign
from voiceguard.store import campaigns, retention, schema, similar
from voiceguard.store.engine import reading
from voiceguard.store.schema import new_id

__all__ = ["desk", "through", "voices"]


def count(desk: Desk, table: sa.Table) -> int:
    with reading(desk.engine) as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def delete(desk: Desk, call_id: str) -> None:
    assert retention.delete_call(desk.engine, desk.recordings, call_id, actor="a", reason="b")


def test_numbers_fall_with_each_call(desk: Desk, voices: list[np.ndarray]) -> None:
    posted = [
        desk.post(voices[0] * np.float32(factor), carrier_id=carrier_id, score=score)
        for factor, carrier_id, score in (
            (1.0, "carrier_1", 7.0),
            (0.5, "carrier_2", 5.0),
            (0.25, "carrier_1", 6.0),
        )
    ]
    campaign_id = posted[0][1].campaign_id
    delete(desk, posted[0][0].id)
    found = campaign(desk, campaign_id)
    assert (found.calls, found.carriers, found.spread.copies) == (2, 2, 2)
    assert found.first_seen_at == posted[1][0].started_at
    assert found.score == 5.0  # the copy that decided is gone: the next best, and the earlier of two equals
    delete(desk, posted[1][0].id)
    found = campaign(desk, campaign_id)
    assert (found.calls, found.carriers, found.score) == (1, 1, 6.0)
    delete(desk, posted[2][0].id)
    found = campaign(desk, campaign_id)
    assert (found.calls, found.verdict, found.first_seen_at, found.strongest) == (0, None, None, None)
    assert count(desk, schema.fingerprints) == count(desk, schema.fingerprint_keys) == 0
    assert count(desk, schema.campaign_carriers) == 0
    _, again = desk.post(voices[0])
    assert again.how == "new"


def test_a_shared_recording_keeps_its_fingerprint(desk: Desk, voices: list[np.ndarray]) -> None:
    first, joined = desk.post(voices[0])
    desk.post(voices[0])
    keys = count(desk, schema.fingerprint_keys)
    delete(desk, first.id)
    assert campaign(desk, joined.campaign_id).calls == 1
    assert count(desk, schema.fingerprint_keys) == keys > 0


def test_another_copy_takes_the_place_in_the_index(
    desk: Desk, voices: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    from voiceguard.enforcement import campaigns as joins

    monkeypatch.setattr(joins, "MOST_INDEXED", 1)
    monkeypatch.setattr(campaigns, "MOST_INDEXED", 1)
    first, joined = desk.post(voices[0])
    desk.post(voices[0] * np.float32(0.5))
    with reading(desk.engine) as connection:
        before = connection.scalars(sa.select(schema.fingerprint_keys.c.print_seq).distinct()).all()
    delete(desk, first.id)
    with reading(desk.engine) as connection:
        after = connection.scalars(sa.select(schema.fingerprint_keys.c.print_seq).distinct()).all()
    assert len(before) == len(after) == 1
    assert before != after
    _, again = desk.post(voices[0] * np.float32(0.7))
    assert again.campaign_id == joined.campaign_id


def test_a_key_that_all_have_is_read_in_part(
    desk: Desk, voices: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(similar, "ROWS_PER_KEY", 3)
    for number in range(6):
        desk.post(voices[0] * np.float32(1 - number / 10))
    with reading(desk.engine) as connection:
        found = similar.candidates(connection, printed(voices[0]).query_keys())
        later = similar.candidates(connection, printed(voices[0]).query_keys(), after_seq=4)
    assert [seq for seq, _ in found][:3] == [1, 2, 3]
    assert {seq for seq, _ in later} == {5, 6}


def test_an_unknown_id_resolves_to_nothing(desk: Desk) -> None:
    with reading(desk.engine) as connection:
        assert campaigns.resolve(connection, new_id("campaign")) is None
