"""Samples -> what a fingerprint looks at: the telephone band's energy over time, at no particular level.

Everything from here on is whole numbers held in float32: products and sums stay below 2**24, so they are
exact, and a fingerprint does not depend on the order in which a machine adds.
"""

from __future__ import annotations

import functools

import numpy as np
import scipy.fft

from voiceguard.audio import RATE_HZ

WINDOW_SAMPLES, HOP_SAMPLES = 256, 160
"""32 ms windows every 20 ms."""
HOP_S = HOP_SAMPLES / RATE_HZ
BANDS = 20
BAND_LOW_HZ, BAND_HIGH_HZ = 300.0, 3400.0
LEVEL_FRAMES = 75
"""Levels are relative to the mean over this many frames on either side (1.5 s)."""
FLOOR = 0.2
"""Power floor, relative to that mean: noise and codecs fill what lies below."""
STEPS_PER_NEPER = 16
MAX_STEPS = 127


def log_bands(samples: np.ndarray) -> np.ndarray:
    """Measure log band powers relative to the level around them.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,), float32, -1..1]
        One channel at 8 kHz.

    Returns
    -------
    np.ndarray [shape=(1 + (n - WINDOW_SAMPLES) // HOP_SAMPLES, BANDS), float32]
        Whole numbers in -127..127, in 16ths of a neper of power; no rows where n < WINDOW_SAMPLES.
    """
    if len(samples) < WINDOW_SAMPLES:
        return np.zeros((0, BANDS), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW_SAMPLES)[::HOP_SAMPLES]
    spectrum = scipy.fft.rfft(frames * _window(), axis=1)
    powers = (spectrum.real**2 + spectrum.imag**2) @ _filters().T
    level = _local_mean(powers.mean(axis=1))
    steps = np.log(powers / level[:, None] + np.float32(FLOOR)) * np.float32(STEPS_PER_NEPER)
    return np.clip(np.rint(steps), -MAX_STEPS, MAX_STEPS).astype(np.float32)


def _local_mean(power: np.ndarray) -> np.ndarray:
    """Average power, shape (frames,), over ``LEVEL_FRAMES`` on either side, fewer at the ends."""
    total = np.concatenate([[0.0], np.cumsum(power, dtype=np.float64)])
    index = np.arange(len(power))
    first = np.maximum(index - LEVEL_FRAMES, 0)
    last = np.minimum(index + LEVEL_FRAMES + 1, len(power))
    return ((total[last] - total[first]) / (last - first) + 1e-9).astype(np.float32)


@functools.cache
def _window() -> np.ndarray:
    return np.hanning(WINDOW_SAMPLES + 1)[:WINDOW_SAMPLES].astype(np.float32)


@functools.cache
def _filters() -> np.ndarray:
    """Tabulate triangles evenly spaced in mel, weighted by 6 dB an octave, shape (BANDS, bins)."""
    mels = np.linspace(_mel(BAND_LOW_HZ), _mel(BAND_HIGH_HZ), BANDS + 2)
    edges_hz = 700 * (10 ** (mels / 2595) - 1)
    bins_hz = np.arange(WINDOW_SAMPLES // 2 + 1) * RATE_HZ / WINDOW_SAMPLES
    low, middle, high = (edges_hz[start : start + BANDS, None] for start in range(3))
    rising, falling = (bins_hz - low) / (middle - low), (high - bins_hz) / (high - middle)
    triangles = np.clip(np.minimum(rising, falling), 0, None)
    return (triangles * (bins_hz / 1000) ** 2).astype(np.float32)


def _mel(frequency_hz: float) -> float:
    return float(2595 * np.log10(1 + frequency_hz / 700))
