"""Recordings to measure on: clips of a corpus, joined by speaker into calls of some length."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from voiceguard.audio import RATE_HZ

PAUSE_S = (0.1, 0.6)
"""Length of the pauses between joined clips."""
SPOKEN_SHARE = 0.65
"""Least share of speech in what copies are made of: single letters with pauses are no message."""


@dataclass(frozen=True)
class Source:
    """Which clips make one recording."""

    name: str
    paths: tuple[Path, ...]

    def read(self) -> np.ndarray:
        """Join the clips with pauses, shape (n,), float32, -1..1, at 8 kHz."""
        rng = np.random.default_rng(int.from_bytes(self.name.encode()[-6:]))
        pieces = []
        for path in self.paths:
            clip, rate_hz = soundfile.read(path, dtype="float32")
            if rate_hz != RATE_HZ:
                raise SystemExit(f"Expected clips at {RATE_HZ} Hz; {path} has {rate_hz} Hz.")
            pause = np.zeros(int(rng.uniform(*PAUSE_S) * RATE_HZ), np.float32)
            pieces += [clip, pause]
        return np.concatenate(pieces)


def sources(manifest: Path, folds: set[str], least_s: float, most_s: float) -> Iterator[Source]:
    """Join clips of one speaker until a recording is long enough; what is left over is dropped.

    Parameters
    ----------
    manifest : Path
        A CSV file with the columns ``id, path, fold, label, source, engine, page, speaker, seconds``; paths are
        relative to its folder. No clip is in two recordings.
    folds : set of str
        Which folds to take.
    least_s, most_s : float
        A recording's length is drawn from this range.
    """
    speakers: dict[tuple[str, ...], list[dict[str, str]]] = defaultdict(list)
    with manifest.open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            if row["fold"] in folds:
                who = tuple(row[name] for name in ("label", "source", "engine", "page", "speaker"))
                speakers[who].append(row)
    rng = np.random.default_rng(0)
    for rows in speakers.values():
        chosen: list[dict[str, str]] = []
        wanted_s = rng.uniform(least_s, most_s)
        for row in rows:
            chosen.append(row)
            if sum(float(one["seconds"]) for one in chosen) >= wanted_s:
                yield Source(chosen[0]["id"], tuple(manifest.parent / one["path"] for one in chosen))
                chosen = []
                wanted_s = rng.uniform(least_s, most_s)
