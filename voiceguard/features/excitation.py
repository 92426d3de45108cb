"""What the voice is driven by: periodicity, pitch, and the all-pole fit of each frame."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import scipy.fft

from voiceguard.audio import RATE_HZ
from voiceguard.features.spectrum import hann
from voiceguard.features.statistics import MOMENTS, Block, moments

LPC_ORDER = 10
PITCH_LAGS = (RATE_HZ // 400, RATE_HZ // 62 - 1)
"""In samples: pitch from 400 down to 62 Hz."""
VOICED_HARMONICITY = 0.45
LEAST_VOICED = 16
"""With fewer frames of a kind there are no statistics of them."""
CALM_STEP = 0.15
"""Pitch that moves further from frame to frame, in natural log, has jumped."""


@dataclass(frozen=True)
class Excitation:
    """Periodicity and all-pole fit of each frame; arrays of shape (frames,), areas (LPC_ORDER, frames)."""

    voiced: np.ndarray
    harmonicity: np.ndarray
    log_lag: np.ndarray
    areas: np.ndarray
    log_gain: np.ndarray


def autocorrelate(power: np.ndarray) -> np.ndarray:
    """Autocorrelation of each frame of a power spectrogram, by lag; both of shape (frames, bins)."""
    return np.asarray(scipy.fft.dct(power, type=1, axis=1))  # the inverse transform of a real even spectrum


def pitch_lags(autocorrelation: np.ndarray) -> np.ndarray:
    """Autocorrelation at the lags of a pitch, from `PITCH_LAGS`, as if the window were flat."""
    low, high = PITCH_LAGS
    size = 2 * (autocorrelation.shape[1] - 1)
    return np.asarray(autocorrelation[:, low:high] * (1 / lag_window(size)[low:high]))


def analyse_excitation(autocorrelation: np.ndarray, speech: np.ndarray) -> Excitation:
    """Find pitch by the autocorrelation's peak, and log area ratios of the all-pole fit."""
    low = PITCH_LAGS[0]
    search = pitch_lags(autocorrelation)
    best = search.argmax(axis=1)
    harmonicity = search[np.arange(len(search)), best] / (autocorrelation[:, 0] + np.float32(1e-16))
    reflection, gain = _reflection(autocorrelation[:, : LPC_ORDER + 1])
    reflection = np.clip(reflection, np.float32(-0.999), np.float32(0.999))
    return Excitation(
        voiced=speech & (harmonicity > VOICED_HARMONICITY),
        harmonicity=harmonicity,
        log_lag=np.log(best.astype(np.float32) + low),
        areas=np.log((1 + reflection) / (1 - reflection)) / 2,
        log_gain=np.log(gain + np.float32(1e-9)),
    )


def enough(marked: np.ndarray) -> np.ndarray:
    """Weights of the frames marked, shape (frames,), float32; of all frames where hardly any is marked."""
    weights = marked.astype(np.float32)
    return weights if weights.sum() >= LEAST_VOICED else np.ones_like(weights)


def pitch(log_lag: np.ndarray, voiced: np.ndarray) -> Iterable[Block]:
    """Pitch movement from frame to frame; zeros where too little is voiced."""
    steps = np.diff(log_lag)
    both = voiced[1:] & voiced[:-1]
    calm = both & (np.abs(steps) < CALM_STEP)
    moving = np.zeros((len(MOMENTS), 2))
    jumps = spread = 0.0
    if calm.sum() >= LEAST_VOICED:
        smooth = calm[1:] & calm[:-1] if (calm[1:] & calm[:-1]).any() else np.ones(len(calm) - 1, dtype=bool)
        changes = np.stack([steps, np.append(np.diff(steps), np.float32(0))])
        moving = moments(changes, np.stack([calm, np.append(smooth, False)]).astype(np.float32))
        jumps = (both & ~calm).sum() / both.sum()
        spread = np.log(log_lag[voiced].std() + 1e-4)
    yield Block("pitch.step", MOMENTS, moving[:, 0])
    yield Block("pitch.bend", MOMENTS, moving[:, 1])
    yield Block("pitch", ("jump_share", "spread"), np.array([jumps, spread]))


def _reflection(autocorrelation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Levinson-Durbin over all frames at once; ``autocorrelation`` has shape (frames, order + 1).

    Returns reflection coefficients, shape (order, frames), in -1..1, and the residual's share of the power,
    shape (frames,), in 0..1.
    """
    normal = np.ascontiguousarray(autocorrelation.T) / (autocorrelation[:, 0] + np.float32(1e-16))
    normal[0] = 1.0001
    order, frames = len(normal) - 1, normal.shape[1]
    coefficients = np.zeros((order + 1, frames), np.float32)
    coefficients[0] = 1
    reflection = np.zeros((order, frames), np.float32)
    error, least = normal[0].copy(), np.float32(-0.9999)
    for index in range(1, order + 1):
        projected = (coefficients[:index] * normal[index:0:-1]).sum(axis=0)
        factor = np.minimum(np.maximum(-projected / error, least), -least)
        reflection[index - 1] = factor
        coefficients[1 : index + 1] += factor * coefficients[index - 1 :: -1][:index]
        error *= 1 - factor * factor
    return reflection, error


@functools.cache
def lag_window(window_samples: int) -> np.ndarray:
    """Autocorrelation of the Hann window, by lag, with 1 at lag 0: what a periodic signal falls by."""
    window = hann(window_samples).astype(np.float64)
    full = np.correlate(window, window, "full")[window_samples - 1 :]
    return np.maximum(full / full[0], 0.05).astype(np.float32)
