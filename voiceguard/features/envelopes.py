"""How the power of frequency bands moves within a few milliseconds: pulses of the voice, and noise between them.

The spectra that cepstra stand on last 32 ms and hide what happens inside; the shorter of these windows fit between
the pulses of most voices. Each band's power is held against its own mean nearby, so neither the line nor the
loudness counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from voiceguard.features import loops
from voiceguard.features.spectrum import frame_mask, power_spectrogram
from voiceguard.features.statistics import (
    MOMENTS,
    Block,
    correlations,
    dynamics,
    moments,
    normalise,
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
    samples: np.ndarray, speech: np.ndarray, banks: Iterable[Envelopes] = BANKS
) -> Iterable[Block]:
    """Statistics of every bank; ``speech`` has a place for each `FRAME_SAMPLES` samples."""
    for bank in banks:
        power = power_spectrogram(samples, bank.window_samples, bank.hop_samples)
        mask = frame_mask(speech, len(power), bank.window_samples, bank.hop_samples)
        tracks, weights = follow(bank, power, mask), mask.astype(np.float32)
        yield Block(bank.name, MOMENTS, moments(tracks, weights))
        yield from dynamics({bank.name: tracks}, weights, bank.steps, bank.lags)
        yield Block(bank.name, ("correlation",), correlations(normalise(tracks, weights)))


def follow(bank: Envelopes, power: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Natural log of each band's power over that nearby, shape (bands, frames).

    ``power`` has shape (frames, bins), ``mask`` marks the frames of speech.
    """
    bands = loops.paired_bins(power, bank.first_bin, bank.bands)
    weights = mask.astype(np.float32)
    mean = np.vecdot(bands, weights).sum() / (len(bands) * weights.sum())
    loops.hold_against_nearby(bands, NEARBY_FRAMES // 2, mean * FLOOR + 1e-16, OFFSET)
    return np.log(bands, out=bands)
