"""Samples -> short-time spectra, bands and cepstra."""

from __future__ import annotations

import functools

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


def power_spectrogram(
    samples: np.ndarray, window_samples: int = WINDOW_SAMPLES, hop_samples: int = HOP_SAMPLES
) -> np.ndarray:
    """Short-time power spectrum with a periodic Hann window.

    Returns
    -------
    np.ndarray [shape=(1 + (n - window_samples) // hop_samples, window_samples // 2 + 1), float32, >= 0]
    """
    count = max(0, 1 + (len(samples) - window_samples) // hop_samples)
    power = np.empty((count, window_samples // 2 + 1), np.float32)
    frames = np.empty((BLOCK_SAMPLES // window_samples, window_samples), np.float32)
    for start in range(0, count, len(frames)):
        block = frames[: count - start]
        loops.cut_frames(samples[start * hop_samples :], hann(window_samples), hop_samples, block)
        loops.squared_magnitudes(scipy.fft.rfft(block, axis=1), power[start : start + len(block)])
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


def spectrum_shape(power: np.ndarray) -> np.ndarray:
    """Flatness, entropy, flux, and fine structure between harmonics in three ranges.

    ``power`` has shape (frames, bins); returns shape (6, frames).
    """
    low, high = nearest_bin(300), nearest_bin(3400)
    relative = loops.relative_power(power, low, high)
    edges = np.array([0, nearest_bin(1000) - low, nearest_bin(2000) - low, high - low])
    return loops.shapes(relative, np.log(relative), edges)


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
