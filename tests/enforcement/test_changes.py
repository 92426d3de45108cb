from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import sqlalchemy as sa

from tests.enforcement.conftest import Desk, printed
from tests.enforcement.test_join import campaign
from tests.store.conftest import NOW
from voiceguard.audio import RATE_HZ
from voiceguard.enforcement import changes
from voiceguard.enforcement.changes import CampaignError
from voiceguard.store import audit, calls, campaign_views, schema
from voiceguard.store.engine import reading

Through = Callable[[np.ndarray, int], np.ndarray]


def merge(desk: Desk, *ids: str | None) -> str:
    chosen = [one for one in ids if one is not None]
    return changes.merge(desk.engine, chosen, actor="ann", reason="same voice", now=NOW)


def split(desk: Desk, campaign_id: str | None, *out: str) -> str:
    assert campaign_id is not None
    return changes.split(desk.engine, campaign_id, out, actor="ann", reason="other text", now=NOW)


def history(desk: Desk, campaign_id: str) -> list[tuple[str, str, str]]:
    with reading(desk.engine) as connection:
        found = campaign_views.get(connection, campaign_id)
        assert found is not None
        return [(one.action, one.actor, one.reason) for one in campaign_views.history(connection, found.seq)]


def audited(desk: Desk) -> list[str]:
    with reading(desk.engine) as connection:
        return list(connection.scalars(sa.select(schema.audit_log.c.action).order_by(schema.audit_log.c.seq)))


def test_a_merge_by_hand_keeps_the_oldest_and_the_others_answer(desk: Desk, voices: list[np.ndarray]) -> None:
    posted = [desk.post(voices[number], carrier_id=f"carrier_{number % 2 + 1}") for number in range(3)]
    ids = [joined.campaign_id for _, joined in posted]
    assert merge(desk, ids[2], ids[1]) == ids[1]
    assert merge(desk, ids[2], ids[0]) == ids[0]  # the merged id stands for the campaign that survived
    for one in ids:
        found = campaign(desk, one)
        assert (found.id, found.calls, found.carriers, found.spread.copies) == (ids[0], 3, 2, 3)
    assert campaign(desk, ids[0]).merged_ids == (ids[1], ids[2])
    assert history(desk, str(ids[2])) == [("merge", "ann", "same voice")] * 2
    assert audited(desk) == [audit.Action.CAMPAIGNS_MERGED] * 2
    with reading(desk.engine) as connection:
        for call, _ in posted:
            stored = calls.get(connection, call.id)
            assert stored is not None
            assert stored[0].campaign_id == ids[0]
    _, again = desk.post(voices[2])
    assert (again.campaign_id, again.calls) == (ids[0], 4)


def test_a_merge_needs_two(desk: Desk, voices: list[np.ndarray]) -> None:
    _, joined = desk.post(voices[0])
    with pytest.raises(CampaignError, match="two campaigns"):
        merge(desk, joined.campaign_id, joined.campaign_id)
    with pytest.raises(CampaignError, match="campaign_0"):
        merge(desk, joined.campaign_id, "campaign_0")


def test_a_split_holds_against_calls_that_match_both(
    desk: Desk, voices: list[np.ndarray], through: Through
) -> None:
    _, first = desk.post(through(voices[0], 0))
    out, second = desk.post(through(voices[0], 1))
    assert first.campaign_id == second.campaign_id
    new_id = split(desk, first.campaign_id, out.id)
    assert (campaign(desk, first.campaign_id).calls, campaign(desk, new_id).calls) == (1, 1)
    # The same bytes stay where the reviewer put them; other copies match both and join one of them.
    _, same = desk.post(through(voices[0], 1))
    assert (same.campaign_id, same.how) == (new_id, "known")
    others = [desk.post(through(voices[0], way))[1] for way in (2, 3)]
    assert {one.campaign_id for one in others} <= {first.campaign_id, new_id}
    sizes = [campaign(desk, one) for one in (first.campaign_id, new_id)]
    assert [one.merged_ids for one in sizes] == [(), ()]
    assert sum(one.calls for one in sizes) == 5
    assert history(desk, new_id) == [("split", "ann", "other text")]
    # A person may think again.
    assert merge(desk, new_id, first.campaign_id) == first.campaign_id
    assert campaign(desk, new_id).calls == 5


def test_a_split_survives_a_merge_with_a_third(
    desk: Desk, voices: list[np.ndarray], through: Through
) -> None:
    _, first = desk.post(through(voices[0], 0))
    out, _ = desk.post(through(voices[0], 1))
    new_id = split(desk, first.campaign_id, out.id)
    _, third = desk.post(voices[1])
    assert merge(desk, third.campaign_id, first.campaign_id) == first.campaign_id
    for way in (2, 3):
        desk.post(through(voices[0], way))
    assert campaign(desk, new_id).id == new_id
    assert campaign(desk, third.campaign_id).id == first.campaign_id


def test_what_can_not_be_split(desk: Desk, voices: list[np.ndarray], through: Through) -> None:
    call, joined = desk.post(through(voices[0], 0))
    other, _ = desk.post(voices[1])
    with pytest.raises(CampaignError, match="some recordings stay"):
        split(desk, joined.campaign_id, call.id)
    with pytest.raises(CampaignError, match=other.id):
        split(desk, joined.campaign_id, other.id)
    with pytest.raises(CampaignError, match="got none"):
        split(desk, joined.campaign_id)


def test_a_taught_announcement_makes_no_campaign(
    desk: Desk, voices: list[np.ndarray], through: Through
) -> None:
    announcement, message = voices[1][: 6 * RATE_HZ], voices[0]
    stored, before = desk.post(through(announcement, 1))
    assert before.campaign_id is not None
    moved = changes.teach(desk.engine, "number not in service", printed(announcement), actor="ann", now=NOW)
    assert moved == 1
    with reading(desk.engine) as connection:
        found = calls.get(connection, stored.id)
    assert found is not None
    assert (found[0].campaign_id, found[0].announcement) == (None, "number not in service")
    assert campaign(desk, before.campaign_id).calls == 0
    for samples in (through(announcement, 2), through(announcement, 1)):
        _, joined = desk.post(samples)
        assert (joined.campaign_id, joined.announcement) == (None, "number not in service")
    # Before a message it is no reason to join, and none not to.
    _, plain = desk.post(through(message, 1))
    _, after = desk.post(through(np.concatenate([announcement, message]), 2))
    assert after.campaign_id == plain.campaign_id
    assert [one.name for one in changes.announcements(desk.engine)] == ["number not in service"]
    with pytest.raises(CampaignError, match="known already"):
        changes.teach(desk.engine, "number not in service", printed(message), actor="ann", now=NOW)
    assert changes.forget(desk.engine, "number not in service", actor="ann")
    assert not changes.forget(desk.engine, "number not in service", actor="ann")
    _, joined = desk.post(through(announcement, 1))
    assert joined.campaign_id is not None


def test_silence_can_not_be_taught(desk: Desk) -> None:
    with pytest.raises(CampaignError, match="seconds of speech"):
        changes.teach(desk.engine, "silence", printed(np.zeros(8 * RATE_HZ, np.float32)), actor="a", now=NOW)
