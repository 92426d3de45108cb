"""How the power of frequency bands moves within a few milliseconds: pulses of the voice, and noise between them.

The spectra that cepstra stand on last 32 ms and hide what happens inside; the shorter of these windows fit between
the pulses of most voices. Each band's power is held against its own mean nearby, so neither the line nor the
loudness counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from voiceguard.features import loops
from voiceguard.features.spectrum import Spectra, spectra
from voiceguard.features.statistics import (
    MOMENTS,
    Block,
    correlations,
    dynamics,
    moments,
    normalise,
    sums,
)

NEARBY_FRAMES = 33
"""Frames that a band's power is held against, an odd number."""
FLOOR = 1e-5
"""Power below this share of the speech's in the band is no evidence."""
OFFSET = 0.03
"""Added to the relative power before the logarithm: gaps between pulses are deep, and how deep is the codec's."""


@dataclass(frozen=True)
class Envelopes:
    """A bank of bands whose power is followed finely."""

    name: str
    window_samples: int
    hop_samples: int
    first_bin: int
    bands: int
    """Of two bins each."""
    steps: tuple[int, ...]
    lags: tuple[int, ...]

    @property
    def last_bin(self) -> int:
        """Bin after the last band's."""
        return self.first_bin + 2 * self.bands


BANKS = (
    Envelopes(
        name="envelope8ms",
        window_samples=64,
        hop_samples=16,
        first_bin=2,
        bands=13,
        steps=(1, 2, 4, 8),
        lags=(1, 2, 3, 4, 5, 6, 8, 10, 14, 20),
    ),
    Envelopes(
        name="envelope16ms",
        window_samples=128,
        hop_samples=32,
        first_bin=4,
        bands=26,
        steps=(1, 2, 4),
        lags=(1, 2, 3, 4, 5, 6, 8, 10),
    ),
    Envelopes(
        name="envelope4ms",
        window_samples=32,
        hop_samples=8,
        first_bin=1,
        bands=7,
        steps=(1, 2, 4, 8),
        lags=(1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16),
    ),
)


def envelope_blocks(
    samples: Sequence[np.ndarray], speech: Sequence[np.ndarray], banks: Iterable[Envelopes] = BANKS
) -> Iterable[Block]:
    """Statistics of every bank, of windows of samples; ``speech`` has a place for each `FRAME_SAMPLES` of them."""
    for bank in banks:
        found = spectra(samples, speech, bank.window_samples, bank.hop_samples)
        tracks, weights, bounds = follow(bank, found), found.weights, found.bounds
        yield Block(bank.name, MOMENTS, moments(tracks, weights, bounds))
        yield from dynamics({bank.name: tracks}, weights, bounds, bank.steps, bank.lags)
        yield Block(bank.name, ("correlation",), correlations(normalise(tracks, weights, bounds), bounds))


def follow(bank: Envelopes, found: Spectra) -> np.ndarray:
    """Natural log of each band's power over that nearby, shape (bands, frames)."""
    bands = loops.paired_bins(found.power, bank.first_bin, bank.bands)
    counts = sums(found.weights, found.bounds)
    mean = sums(bands.sum(axis=0) * found.weights, found.bounds) / (len(bands) * counts)
    loops.hold_against_nearby(
        bands, found.bounds, NEARBY_FRAMES // 2, mean * np.float32(FLOOR) + np.float32(1e-16), OFFSET
    )
    return np.log(bands, out=bands)
