from __future__ import annotations

from collections.abc import Iterator

import limits
import pytest
import sqlalchemy as sa

from voiceguard.store import limits as table
from voiceguard.store.limits import Counters

RATE = limits.parse("3/minute")


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(table, "time", clock)
    return clock


@pytest.fixture
def counters(engine: sa.Engine) -> Iterator[tuple[Counters, Counters]]:
    """Two processes' counters on one database."""
    both = Counters(engine), Counters(engine)
    yield both
    for one in both:
        one.close()


def test_two_processes_count_as_one(counters: tuple[Counters, Counters], clock: Clock) -> None:
    first, second = counters
    used = [one.hit(RATE, "key") for one in (first, second, first, second)]
    assert [one.allowed for one in used] == [True, True, True, False]
    assert [one.remaining for one in used] == [2, 1, 0, 0]
    assert {one.resets_in_s for one in used} == {60}
    assert first.hit(RATE, "other key").allowed


def test_each_rate_has_its_own_counter(counters: tuple[Counters, Counters], clock: Clock) -> None:
    assert counters[0].hit(RATE, "key").hits == 1
    assert counters[0].hit(limits.parse("3/hour"), "key").hits == 1


def test_a_new_window_begins_when_the_old_one_is_over(
    counters: tuple[Counters, Counters], clock: Clock
) -> None:
    assert [counters[0].hit(RATE, "key").allowed for _ in range(4)] == [True, True, True, False]
    clock.now += 59
    assert counters[0].hit(RATE, "key").resets_in_s == 1
    clock.now += 1
    assert counters[0].hit(RATE, "key") == table.Usage(hits=1, limit=3, resets_in_s=60)


def test_a_clock_set_back_by_an_hour_locks_nobody_out(
    counters: tuple[Counters, Counters], clock: Clock
) -> None:
    assert [counters[0].hit(RATE, "key").allowed for _ in range(4)] == [True, True, True, False]
    clock.now -= 3600
    assert counters[0].hit(RATE, "key").allowed
