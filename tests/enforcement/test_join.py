from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import sqlalchemy as sa

from tests.enforcement.conftest import Desk
from tests.store.conftest import NOW
from voiceguard.audio import RATE_HZ
from voiceguard.enforcement import campaigns
from voiceguard.enforcement.campaigns import LookUp
from voiceguard.store import campaign_views, endpoints, schema, similar
from voiceguard.store.calls import get
from voiceguard.store.campaign_views import Campaign
from voiceguard.store.engine import reading, writing

Through = Callable[[np.ndarray, int], np.ndarray]


def campaign(desk: Desk, campaign_id: str | None, carrier_id: str | None = None) -> Campaign:
    assert campaign_id is not None
    with reading(desk.engine) as connection:
        found = campaign_views.get(connection, campaign_id, carrier_id=carrier_id)
    assert found is not None
    return found


def test_copies_are_one_campaign_and_other_recordings_are_not(
    desk: Desk, voices: list[np.ndarray], through: Through
) -> None:
    joined = [[desk.post(through(voice, way))[1] for way in range(4)] for voice in voices[:4]]
    ids = [{one.campaign_id for one in copies} for copies in joined]
    assert all(len(found) == 1 for found in ids)
    assert len(set.union(*ids)) == 4
    assert [[one.how for one in copies] for copies in joined] == [["new", *["joined"] * 3]] * 4
    assert [[one.calls for one in copies] for copies in joined] == [[1, 2, 3, 4]] * 4
    found = campaign(desk, joined[0][0].campaign_id)
    assert (found.calls, found.spread.copies, found.callees, found.callers) == (4, 4, 4, 1)
    assert (found.first_seen_at, found.last_seen_at) == (NOW, NOW + dt.timedelta(minutes=3))


def test_cut_and_shifted_copies_join(desk: Desk, voices: list[np.ndarray], through: Through) -> None:
    whole, other = voices[0], voices[1]
    _, first = desk.post(whole)
    _, tail = desk.post(through(whole[2 * RATE_HZ :], 1))
    _, greeted = desk.post(through(np.concatenate([other[: 2 * RATE_HZ], whole]), 2))
    assert first.campaign_id == tail.campaign_id == greeted.campaign_id


def test_same_bytes_are_known_without_a_look(desk: Desk, voices: list[np.ndarray]) -> None:
    _, first = desk.post(voices[0])
    screening = desk.screening(voices[0])
    found = desk.look_up(voices[0], screening)
    assert found.similar == ()
    call, again = desk.store(screening, found, carrier_id="carrier_2")
    assert (again.campaign_id, again.how, again.calls) == (first.campaign_id, "known", 2)
    with reading(desk.engine) as connection:
        stored = get(connection, call.id)
    assert stored is not None
    assert (stored[0].campaign_id, stored[0].prerecorded) == (first.campaign_id, True)
    assert campaign(desk, first.campaign_id).spread.copies == 1
    assert campaign(desk, first.campaign_id, "carrier_2").own_calls == 1


def test_too_little_speech_joins_nothing(desk: Desk, voices: list[np.ndarray]) -> None:
    for samples in (voices[0][:RATE_HZ], np.zeros(8 * RATE_HZ, np.float32)):
        _, joined = desk.post(samples)
        assert (joined.campaign_id, joined.how) == (None, "unmatchable")
    with reading(desk.engine) as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(schema.fingerprints)) == 0


def test_what_was_added_since_the_look_up_is_found(
    desk: Desk, voices: list[np.ndarray], through: Through
) -> None:
    """Both look up before either is stored, as two processes do at the same instant."""
    copies = [through(voices[0], way) for way in (0, 1)]
    screenings = [desk.screening(copy) for copy in copies]
    looked = [desk.look_up(copy, one) for copy, one in zip(copies, screenings, strict=True)]
    assert [one.similar for one in looked] == [(), ()]
    ids = {desk.store(one, found)[1].campaign_id for one, found in zip(screenings, looked, strict=True)}
    assert len(ids) == 1


def test_threads_that_post_at_once_agree(desk: Desk, voices: list[np.ndarray], through: Through) -> None:
    work = [(voice, way) for voice in range(3) for way in range(4)]
    ready = threading.Barrier(len(work))

    def _post(voice: int, way: int) -> tuple[int, str | None]:
        samples = through(voices[voice], way)
        screening = desk.screening(samples)
        found = desk.look_up(samples, screening)
        ready.wait()
        return voice, desk.store(screening, found)[1].campaign_id

    with ThreadPoolExecutor(len(work)) as threads:
        results = list(threads.map(lambda one: _post(*one), work))
    assert len(set(results)) == len({voice for voice, _ in results}) == 3
    for _, campaign_id in set(results):
        assert campaign(desk, campaign_id).calls == 4


def test_the_best_copy_decides_and_the_spread_is_shown(
    desk: Desk, voices: list[np.ndarray], through: Through
) -> None:
    scores = ((1.0, 10.0), (8.0, 35.0), (-1.0, 5.0))  # score, SNR in dB
    for way, (score, snr_db) in enumerate(scores):
        _, joined = desk.post(through(voices[0], way), score=score, quality=snr_db)
    found = campaign(desk, joined.campaign_id)
    assert (found.verdict, found.score) == ("synthetic", 8.0)
    assert found.strongest is not None
    assert found.strongest.score == 8.0
    assert (found.spread.lowest, found.spread.highest) == (-1.0, 8.0)
    assert found.spread.mean == pytest.approx(8 / 3)
    # Posting the same worse copy a hundred times over changes nothing.
    for _ in range(5):
        desk.post(through(voices[0], 0), score=1.0, quality=10.0)
    again = campaign(desk, joined.campaign_id)
    assert (again.verdict, again.score, again.spread) == (found.verdict, found.score, found.spread)


def test_one_recording_that_has_both_makes_two_campaigns_one(
    desk: Desk, voices: list[np.ndarray], through: Through
) -> None:
    whole = np.concatenate([voices[0], voices[1]])
    half = len(voices[0])
    call, first = desk.post(whole[:half])
    _, second = desk.post(whole[half:])
    assert first.campaign_id != second.campaign_id
    _, both = desk.post(through(whole, 1))
    assert both.campaign_id == first.campaign_id
    merged = campaign(desk, second.campaign_id)
    assert (merged.id, merged.calls, merged.merged_ids) == (first.campaign_id, 3, (second.campaign_id,))
    with reading(desk.engine) as connection:
        (event,) = campaign_views.history(connection, merged.seq)
        stored = get(connection, call.id)
    assert (event.action, event.actor, event.other_id) == ("merge", "voiceguard", second.campaign_id)
    assert stored is not None
    assert stored[0].campaign_id == merged.id


def test_carriers_hear_of_each_set_size_once(desk: Desk, voices: list[np.ndarray], through: Through) -> None:
    with writing(desk.engine) as connection:
        for carrier_id in ("carrier_1", "carrier_2"):
            endpoints.add(
                connection,
                carrier_id=carrier_id,
                url="https://example.com",
                events=("campaign.grown",),
                now=NOW,
            )
    for number in range(6):
        desk.post(through(voices[0], number), carrier_id="carrier_2" if number == 3 else "carrier_1")
    with reading(desk.engine) as connection:
        told = connection.execute(sa.select(schema.outbox.c.carrier_id, schema.outbox.c.data)).all()
    sizes = [(row.carrier_id, row.data["size"], row.data["own_calls"]) for row in told]
    assert sorted(sizes) == [("carrier_1", 3, 3), ("carrier_1", 5, 4), ("carrier_2", 5, 1)]


def test_the_index_of_one_campaign_stays_small(
    desk: Desk, voices: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaigns, "MOST_INDEXED", 3)
    for number in range(6):
        _, joined = desk.post(voices[0] * np.float32(1 - number / 10))
    with reading(desk.engine) as connection:
        table = schema.fingerprints.c
        indexed = connection.scalars(sa.select(table.indexed).order_by(table.seq)).all()
        rows = connection.scalar(sa.select(sa.func.count(sa.distinct(schema.fingerprint_keys.c.print_seq))))
    assert indexed == [True] * 3 + [False] * 3
    assert rows == 3
    assert joined.calls == 6


def test_a_fingerprint_that_vanished_since_the_look_up_counts_no_more(
    desk: Desk, voices: list[np.ndarray], through: Through
) -> None:
    from voiceguard.store import retention

    call, first = desk.post(voices[0])
    copy = through(voices[0], 1)
    screening = desk.screening(copy)
    found = desk.look_up(copy, screening)
    assert len(found.similar) == 1
    retention.delete_call(desk.engine, desk.recordings, call.id, actor="a", reason="b")
    _, joined = desk.store(screening, found)
    assert joined.how == "new"
    assert joined.campaign_id != first.campaign_id


def test_keys_are_folded_into_what_the_table_holds() -> None:
    assert similar.stored_keys([0, 1, 1, 2**31, 2**32 - 1]) == [-(2**31), -1, 0, 1]
    assert all(-(2**31) <= key < 2**31 for key in similar.stored_keys([2**62 + 5, 2**40]))
    assert similar.stored_keys([]) == []


def test_nothing_to_match_by_joins_nothing(desk: Desk, voices: list[np.ndarray]) -> None:
    _, joined = desk.store(desk.screening(voices[0]), LookUp(None))
    assert joined.campaign_id is None
