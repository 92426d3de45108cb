"""Samples -> short-time spectra, bands and cepstra."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.fft
import scipy.sparse

from voiceguard.audio import RATE_HZ
from voiceguard.features import loops
from voiceguard.vad import FRAME_SAMPLES

WINDOW_SAMPLES, HOP_SAMPLES = 256, 64
"""Short-time analysis: 32 ms windows every 8 ms."""
BANDS, COEFFICIENTS = 40, 30
BAND_LOW_HZ, BAND_HIGH_HZ = 200.0, 3700.0
BLOCK_SAMPLES = 32768
"""Spectra are taken of so much at once: what they need on the way stays in the processor's cache."""
LEAST_FRAMES = 16
"""With fewer frames in speech all of them count as speech."""


class Spectra(NamedTuple):
    """Short-time power spectra of several windows of speech, side by side."""

    power: np.ndarray
    """Shape (frames, bins), float32, >= 0."""
    speech: np.ndarray
    """Which frames count, shape (frames,), bool."""
    bounds: np.ndarray
    """Where each window's frames begin, and the last one's end; shape (windows + 1,), int64."""

    @property
    def weights(self) -> np.ndarray:
        """1 for frames that count and 0 for others, shape (frames,), float32."""
        return self.speech.astype(np.float32)


def spectra(
    samples: Sequence[np.ndarray],
    speech: Sequence[np.ndarray],
    window_samples: int = WINDOW_SAMPLES,
    hop_samples: int = HOP_SAMPLES,
) -> Spectra:
    """Short-time power spectra of windows of speech, each of shape (n,); `frame_mask` says what their masks are."""
    counts = [1 + (len(one) - window_samples) // hop_samples for one in samples]
    begins = np.cumsum([0, *(len(one) for one in samples)])
    starts = np.concatenate(
        [begin + np.arange(count) * hop_samples for begin, count in zip(begins, counts, strict=False)]
    )
    masks = [
        frame_mask(mask, count, window_samples, hop_samples)
        for mask, count in zip(speech, counts, strict=True)
    ]
    power = _power_of_frames(np.concatenate(samples), starts, window_samples)
    return Spectra(power, np.concatenate(masks), np.cumsum([0, *counts]))


def power_spectrogram(
    samples: np.ndarray, window_samples: int = WINDOW_SAMPLES, hop_samples: int = HOP_SAMPLES
) -> np.ndarray:
    """Short-time power spectrum with a periodic Hann window.

    Returns
    -------
    np.ndarray [shape=(1 + (n - window_samples) // hop_samples, window_samples // 2 + 1), float32, >= 0]
    """
    starts = np.arange(0, len(samples) - window_samples + 1, hop_samples)
    return _power_of_frames(samples, starts, window_samples)


def _power_of_frames(samples: np.ndarray, starts: np.ndarray, window_samples: int) -> np.ndarray:
    power = np.empty((len(starts), window_samples // 2 + 1), np.float32)
    frames = np.empty((BLOCK_SAMPLES // window_samples, window_samples), np.float32)
    for first in range(0, len(starts), len(frames)):
        these = starts[first : first + len(frames)]
        block = frames[: len(these)]
        loops.cut_frames(samples, hann(window_samples), these, block)
        loops.squared_magnitudes(scipy.fft.rfft(block, axis=1), power[first : first + len(these)])
    return power


def frame_mask(
    speech: np.ndarray, count: int, window_samples: int = WINDOW_SAMPLES, hop_samples: int = HOP_SAMPLES
) -> np.ndarray:
    """Which of ``count`` analysis frames have their centre in speech; all of them where hardly one has.

    ``speech`` has a place for each `FRAME_SAMPLES` samples.
    """
    centres = np.arange(count) * hop_samples + window_samples // 2
    frame = np.minimum(centres // FRAME_SAMPLES, len(speech) - 1)
    mask = speech[frame] if len(speech) else np.zeros(count, dtype=bool)
    return mask if mask.sum() >= LEAST_FRAMES else np.ones(count, dtype=bool)


def band_powers(power: np.ndarray) -> np.ndarray:
    """Sum a power spectrogram into triangular bands, evenly spaced in frequency.

    Parameters
    ----------
    power : np.ndarray [shape=(frames, WINDOW_SAMPLES // 2 + 1), float32]

    Returns
    -------
    np.ndarray [shape=(BANDS, frames), float32, >= 0]
    """
    # Sparse, not BLAS: its sums don't depend on the thread count, and most weights are zero.
    return triangles() @ power.T


def cepstra(log_bands: np.ndarray) -> np.ndarray:
    """Orthonormal DCT-II over bands, without the zeroth coefficient.

    Parameters
    ----------
    log_bands : np.ndarray [shape=(BANDS, frames), float32]
        Natural-log band powers.

    Returns
    -------
    np.ndarray [shape=(COEFFICIENTS, frames), float32, C order]
    """
    transformed = scipy.fft.dct(log_bands, type=2, norm="ortho", axis=0)
    return np.ascontiguousarray(transformed[1 : COEFFICIENTS + 1])


def spectrum_shape(power: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Flatness, entropy, flux, and fine structure between harmonics in three ranges.

    ``power`` has shape (frames, bins); returns shape (6, frames).
    """
    low, high = nearest_bin(300), nearest_bin(3400)
    relative = loops.relative_power(power, low, high)
    edges = np.array([0, nearest_bin(1000) - low, nearest_bin(2000) - low, high - low])
    return loops.shapes(relative, np.log(relative), bounds, edges)


def nearest_bin(frequency_hz: float, window_samples: int = WINDOW_SAMPLES) -> int:
    """Index of the bin of a spectrum that is nearest to a frequency."""
    return round(frequency_hz * window_samples / RATE_HZ)


@functools.cache
def hann(size: int) -> np.ndarray:
    """Periodic Hann window, shape (size,), float32."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)).astype(np.float32)


@functools.cache
def triangles() -> scipy.sparse.csr_array:
    """Tabulate the filters of :func:`band_powers`, shape (BANDS, bins), weights 0..1."""
    edges_hz = np.linspace(BAND_LOW_HZ, BAND_HIGH_HZ, BANDS + 2)
    bins_hz = np.arange(WINDOW_SAMPLES // 2 + 1) * RATE_HZ / WINDOW_SAMPLES
    distance = np.abs(bins_hz[:, None] - edges_hz[None, 1:-1]) / (edges_hz[1] - edges_hz[0])
    return scipy.sparse.csr_array(np.maximum(1 - distance, 0).T.astype(np.float32))
