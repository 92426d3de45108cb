"""How many live streams run at once, in all and for each key."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator

from voiceguard.api.observe import Metrics
from voiceguard.api.problems import Problem, retry_after
from voiceguard.store.keys import ApiKey

_RETRY_AFTER_S = 10


class Hub:
    """Counts the streams of one process; one event loop's property."""

    def __init__(self, most: int, most_per_key: int, metrics: Metrics) -> None:
        self._most = most
        self._most_per_key = most_per_key
        self._metrics = metrics
        self._by_key: Counter[str] = Counter()
        self._unnamed = 0
        self.closing = asyncio.Event()
        """Set when the service ends: what runs is stored as far as it came."""

    @contextlib.contextmanager
    def connected(self) -> Iterator[None]:
        """Count a connection, whoever it may be; refuse one more than may be."""
        if self._unnamed >= self._most or self.closing.is_set():
            raise Problem("overloaded", headers=retry_after(_RETRY_AFTER_S))
        self._unnamed += 1
        self._metrics.streams.set(self._unnamed)
        try:
            yield
        finally:
            self._unnamed -= 1
            self._metrics.streams.set(self._unnamed)

    @contextlib.contextmanager
    def streaming(self, key: ApiKey) -> Iterator[None]:
        """Count a stream of a key; refuse one more than it may have."""
        if self._by_key[key.id] >= self._most_per_key:
            raise Problem(
                "too_many_streams",
                f"Expected at most {self._most_per_key} streams of one key at once.",
                headers=retry_after(_RETRY_AFTER_S),
            )
        self._by_key[key.id] += 1
        try:
            yield
        finally:
            self._by_key[key.id] -= 1
            if not self._by_key[key.id]:
                del self._by_key[key.id]
