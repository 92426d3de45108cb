"""Where in time and frequency a window's score comes from, drawn over its spectrogram.

A map takes as many screenings of the window as it has cells. So it is made when somebody asks, one at a time in
a process, and kept.
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from voiceguard.audio import RATE_HZ
from voiceguard.detector import Detector
from voiceguard.explanation import map_window
from voiceguard.vad import speech_frames
from voiceguard.windows import cut_windows

_MOST_KEPT = 500
_MOST_LISTED = 6
_LEAST_FALL = 0.1
"""Of the score; less is noise of the method."""
_MARGIN_S = 0.05


@dataclass(frozen=True)
class Cell:
    """A cell of time and frequency, as far as it is drawn."""

    start_s: float
    """In the recording. A cell that a left-out pause divides is drawn in one, over the pause."""
    end_s: float
    low_hz: float
    high_hz: float
    fall: float
    """How far the window's score falls when the cell is hushed: above 0 it speaks for a synthetic voice."""


@dataclass(frozen=True)
class Map:
    """The cells of a window."""

    start_s: float
    end_s: float
    """What is drawn of the recording."""
    cells: tuple[Cell, ...]
    strongest: tuple[Cell, ...]
    """Those that moved the score most, the most first; none where nothing stands out."""


class Maps:
    """Maps that were made, the last ones kept."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, int, int, str], Map] = OrderedDict()
        self._one = threading.Lock()

    def map(
        self, detector: Detector, sha256: str, channel: int, index: int, samples: np.ndarray
    ) -> Map | None:
        """Return the map of a channel's window; None if there is no such window.

        Parameters
        ----------
        detector
            The model that gave the score.
        sha256, channel, index
            Which recording, which channel, which window.
        samples : np.ndarray [shape=(n,), float32, −1..1]
            The channel at 8 kHz.
        """
        key = (sha256, channel, index, detector.record.id)
        with self._one:
            if key not in self._kept:
                made = _make(detector, samples, index)
                if made is None:
                    return None
                self._kept[key] = made
                while len(self._kept) > _MOST_KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]


def _make(detector: Detector, samples: np.ndarray, index: int) -> Map | None:
    speech = speech_frames(samples)
    windows = cut_windows(samples, speech)
    if not 0 <= index < len(windows):
        return None
    found = map_window(detector, windows[index])
    # Cut in the same way, the numbers of the samples say where each one comes from.
    origin = cut_windows(np.arange(len(samples)), speech)[index].samples
    edges = (np.array(found.edges_s) * RATE_HZ).astype(int).clip(0, len(origin) - 1)
    cells = [
        Cell(
            float(origin[begin] / RATE_HZ),
            float((origin[max(end - 1, begin)] + 1) / RATE_HZ),
            low_hz,
            high_hz,
            round(float(found.falls[row, column]), 3),
        )
        for row, (low_hz, high_hz) in enumerate(itertools.pairwise(found.edges_hz))
        for column, (begin, end) in enumerate(itertools.pairwise(edges.tolist()))
    ]
    strongest = sorted(cells, key=lambda cell: -abs(cell.fall))[:_MOST_LISTED]
    return Map(
        max(float(origin[0] / RATE_HZ) - _MARGIN_S, 0.0),
        min(float(origin[-1] / RATE_HZ) + _MARGIN_S, len(samples) / RATE_HZ),
        tuple(cells),
        tuple(cell for cell in strongest if abs(cell.fall) >= _LEAST_FALL),
    )
