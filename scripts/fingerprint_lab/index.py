"""An inverted index in memory: what the database's does, to measure without one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

import numpy as np


class Index:
    """Keys -> numbers of recordings."""

    def __init__(self) -> None:
        self._rows: dict[int, list[int]] = defaultdict(list)

    def add(self, number: int, keys: np.ndarray) -> None:
        """Store a recording's keys, shape (n,), int."""
        for key in keys.tolist():
            self._rows[key].append(number)

    def look_up(self, keys: Iterable[int]) -> Counter[int]:
        """Count, for each recording that has any of these keys, how many."""
        found: Counter[int] = Counter()
        for key in keys:
            found.update(self._rows.get(int(key), ()))
        return found
