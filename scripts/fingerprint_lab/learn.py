"""Learn the projections of ``voiceguard.fingerprint`` from recordings and copies of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.linalg

from voiceguard.fingerprint.bands import BANDS, HOP_S, log_bands
from voiceguard.vad import FRAME_S, speech_frames

LAGS = np.arange(-1, 6.1, 0.25)
"""Frames by which a codec's delay is searched."""
RIDGE = 1e-2
"""Share of the mean noise power that every direction has at least."""


@dataclass(frozen=True)
class Pair:
    """A recording and a copy of it that starts ``shift_s`` later and plays faster by ``tempo``."""

    original: np.ndarray
    copy: np.ndarray
    shift_s: float
    tempo: float


@dataclass(frozen=True)
class Patches:
    """How a projection sees time: ``frames`` in a row, as their cosine coefficients 1 to ``coefficients``.

    The zeroth coefficient, the mean over time, is the channel's and the speaker's; it is left out.
    """

    frames: int
    coefficients: int

    def __call__(self, bands: np.ndarray) -> np.ndarray:
        """Cut bands, shape (n, BANDS), into patches, shape (n - frames + 1, BANDS * coefficients)."""
        windows = np.lib.stride_tricks.sliding_window_view(bands, self.frames, axis=0)
        spectrum = windows @ self.basis().T
        return spectrum.reshape(len(windows), -1)

    def basis(self) -> np.ndarray:
        """Tabulate the cosines, shape (coefficients, frames)."""
        whole = scipy.fft.dct(np.eye(self.frames), norm="ortho", axis=0)
        return whole[1 : self.coefficients + 1].astype(np.float32)


def aligned(pairs: Iterable[Pair], patches: Patches, jitter_frames: float) -> tuple[np.ndarray, np.ndarray]:
    """Collect patches of speech from originals, and the same patches of their copies; two arrays (n, d).

    Copies are looked at up to ``jitter_frames`` beside the nearest frame.
    """
    rng = np.random.default_rng(0)
    clean, degraded = [], []
    for pair in pairs:
        speech = speech_frames(pair.original)
        before, after = patches(log_bands(pair.original)), patches(log_bands(pair.copy))
        half = patches.frames / 2
        place = np.arange(0, len(before), 3)
        middle = ((place + half) * HOP_S / FRAME_S).astype(int)
        place = place[speech[np.minimum(middle, len(speech) - 1)]]
        expected = (place + half) / pair.tempo - half - pair.shift_s / HOP_S
        inside = (expected > 0) & (expected < len(after) - LAGS[-1] - 2)
        place, expected = place[inside], expected[inside]
        if len(place) < 10:
            continue
        errors = [np.mean((before[place] - after[_nearest(expected + lag, after)]) ** 2) for lag in LAGS]
        jitter = rng.uniform(-jitter_frames, jitter_frames, len(place))
        clean.append(before[place])
        degraded.append(after[_nearest(expected + LAGS[np.argmin(errors)] + jitter, after)])
    return np.concatenate(clean), np.concatenate(degraded)


def _nearest(place: np.ndarray, among: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(place).astype(int), 0, len(among) - 1)


def learn(
    clean: np.ndarray, degraded: np.ndarray, bits: int, patches: Patches
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the directions in which recordings differ most and copies of one recording least.

    Linear discriminant analysis with each place of a recording as a class of its own: the generalised
    eigenvectors of the total scatter over the scatter between original and copy.

    Returns
    -------
    tuple of np.ndarray
        Weights [shape=(bits, frames * BANDS), int8], strongest direction first; thresholds [shape=(bits,),
        int32], which half of the patches exceed; noises [shape=(bits,), int32], the standard deviation of what
        a copy adds.
    """
    both = np.concatenate([clean, degraded]).astype(np.float64)
    total = np.cov(both.T)
    difference = (clean - degraded).astype(np.float64)
    noise = difference.T @ difference / (2 * len(difference))
    noise += RIDGE * np.trace(noise) / len(noise) * np.eye(len(noise))
    size = len(total)
    _, vectors = scipy.linalg.eigh(total, noise, subset_by_index=[size - bits, size - 1])
    directions = vectors[:, ::-1].T.reshape(bits, BANDS, patches.coefficients)
    weights = np.einsum("kbc,ct->ktb", directions, patches.basis()).reshape(bits, -1)
    weights = np.rint(127 * weights / np.abs(weights).max(axis=1, keepdims=True)).astype(np.int8)
    # What the rounded weights see of a patch, through its cosine coefficients.
    seen = np.einsum("ktb,ct->kbc", weights.reshape(bits, patches.frames, BANDS), patches.basis())
    seen = seen.reshape(bits, -1).T
    thresholds = np.rint(np.median(both @ seen, axis=0)).astype(np.int32)
    noises = np.rint((difference @ seen).std(axis=0) / np.sqrt(2)).astype(np.int32)
    return weights, thresholds, noises
