"""How many uploads are handled at once: beyond that, a refusal costs less than a queue that grows."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator

from voiceguard.api.problems import Problem, retry_after


class Admission:
    """Counts the uploads in flight, all together and by carrier; one event loop's property."""

    def __init__(self, most: int, most_per_carrier: int, workers: int) -> None:
        self._most = most
        self._most_per_carrier = most_per_carrier
        self._workers = workers
        self._by_carrier: Counter[str] = Counter()
        self._screening_s = 0.1  # moving average

    @property
    def in_flight(self) -> int:
        """Uploads being handled."""
        return self._by_carrier.total()

    @contextlib.contextmanager
    def enter(self, carrier_id: str) -> Iterator[None]:
        """Count an upload, or refuse it: the whole service is busy (503), or this carrier's share is (429)."""
        wait = retry_after(self.in_flight * self._screening_s / self._workers)
        if self.in_flight >= self._most:
            raise Problem("overloaded", headers=wait)
        if self._by_carrier[carrier_id] >= self._most_per_carrier:
            raise Problem(
                "too_many_uploads",
                f"Expected at most {self._most_per_carrier} uploads of one carrier at once.",
                headers=wait,
            )
        self._by_carrier[carrier_id] += 1
        try:
            yield
        finally:
            self._by_carrier[carrier_id] -= 1
            if not self._by_carrier[carrier_id]:
                del self._by_carrier[carrier_id]

    def screened(self, seconds: float) -> None:
        """Note how long a screening took, for the estimate in Retry-After."""
        self._screening_s += 0.05 * (seconds - self._screening_s)
