"""Which speech frames are music after all: hold music passes for speech, and is in thousands of unrelated calls.

An instrument holds a note's pitch; a voice's moves on. So the fine spectrum of music is like itself a quarter of
a second later, over seconds, and that of speech is not.
"""

from __future__ import annotations

import numpy as np
import scipy.fft

from voiceguard.audio import RATE_HZ
from voiceguard.vad import FRAME_SAMPLES, hanning

WINDOW_SAMPLES = 2048
"""256 ms, one window after the other: lines 4 Hz apart."""
BAND_HZ = (300.0, 3400.0)
ENVELOPE_LINES = 25
"""The spectrum is taken relative to its mean over so many lines, which leaves pitch and takes out timbre."""
STRETCH = 31
"""Windows over which likeness is averaged (8 s)."""
HELD = 0.34
"""Mean likeness from which a stretch is music."""


def held_notes(samples: np.ndarray, speech: np.ndarray) -> np.ndarray:
    """Mark the speech frames that are held notes.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,), float32, -1..1]
        One channel at 8 kHz.
    speech : np.ndarray [shape=(n // 80,), bool]
        Its speech frames; only they count.

    Returns
    -------
    np.ndarray [shape=(n // 80,), bool]
    """
    from scipy.ndimage import uniform_filter1d  # only screening needs it, and it takes long to import

    windows = len(samples) // WINDOW_SAMPLES
    if windows < 2 or not speech.any():
        return np.zeros(len(speech), bool)
    cut = samples[: windows * WINDOW_SAMPLES].reshape(windows, -1)
    spectrum = scipy.fft.rfft(cut * hanning(WINDOW_SAMPLES), axis=1)
    low, high = (round(edge * WINDOW_SAMPLES / RATE_HZ) for edge in BAND_HZ)
    magnitude = np.abs(spectrum[:, low:high])
    # Not log1p: a magnitude so small that it matters is of no note, and only this logarithm is vectorised.
    level = np.log(magnitude / (np.median(magnitude[:, ::4]) + np.float32(1e-6)) + np.float32(1))
    fine = level - uniform_filter1d(level, ENVELOPE_LINES, axis=1, mode="nearest")
    fine /= np.linalg.norm(fine, axis=1, keepdims=True) + np.float32(1e-6)
    likeness = np.vecdot(fine[:-1], fine[1:])
    # Likeness is of two windows: it describes the time where they meet.
    meet = np.arange(1, windows) * (WINDOW_SAMPLES / FRAME_SAMPLES)
    counts = speech[np.minimum(meet.astype(int), len(speech) - 1)].astype(np.float32)
    mean = _sums(likeness * counts) / np.maximum(_sums(counts), 1)
    nearest = np.rint(np.arange(len(speech)) * (FRAME_SAMPLES / WINDOW_SAMPLES)).astype(int) - 1
    held: np.ndarray = speech & (mean[np.clip(nearest, 0, len(mean) - 1)] > HELD)
    return held


def _sums(values: np.ndarray) -> np.ndarray:
    """Sum values, shape (n,), over ``STRETCH`` of them around each."""
    return np.convolve(values, np.ones(STRETCH))[STRETCH // 2 :][: len(values)]
