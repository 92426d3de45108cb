from __future__ import annotations

from collections.abc import Iterator

import limits
import pytest
import sqlalchemy as sa
from limits.strategies import FixedWindowRateLimiter

from voiceguard.store import limits as table
from voiceguard.store.limits import TableStorage

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
def storages(engine: sa.Engine) -> Iterator[tuple[TableStorage, TableStorage]]:
    """Two storages on one database, as two processes have them."""
    both = TableStorage(engine), TableStorage(engine)
    yield both
    for one in both:
        one.close()


def test_two_processes_count_as_one(storages: tuple[TableStorage, TableStorage], clock: Clock) -> None:
    first, second = (FixedWindowRateLimiter(storage) for storage in storages)
    assert [limiter.hit(RATE, "key") for limiter in (first, second, first, second)] == [
        True,
        True,
        True,
        False,
    ]
    assert first.get_window_stats(RATE, "key").remaining == 0
    assert second.get_window_stats(RATE, "key").reset_time == clock.now + 60
    assert first.hit(RATE, "other key")


def test_a_new_window_begins_when_the_old_one_is_over(
    storages: tuple[TableStorage, TableStorage], clock: Clock
) -> None:
    limiter = FixedWindowRateLimiter(storages[0])
    assert [limiter.hit(RATE, "key") for _ in range(4)] == [True, True, True, False]
    clock.now += 60
    assert limiter.hit(RATE, "key")


def test_a_clock_set_back_by_an_hour_locks_nobody_out(
    storages: tuple[TableStorage, TableStorage], clock: Clock
) -> None:
    limiter = FixedWindowRateLimiter(storages[0])
    assert [limiter.hit(RATE, "key") for _ in range(4)] == [True, True, True, False]
    clock.now -= 3600
    assert limiter.hit(RATE, "key")


def test_reset_clear_and_check(storages: tuple[TableStorage, TableStorage]) -> None:
    storage, _ = storages
    assert storage.check()
    storage.incr("a", 60)
    storage.incr("b", 60, amount=2)
    storage.clear("a")
    assert (storage.get("a"), storage.get("b")) == (0, 2)
    assert storage.reset() == 1
