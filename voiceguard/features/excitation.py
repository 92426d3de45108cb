"""What the voice is driven by: periodicity, pitch, and the all-pole fit of each frame."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.fft

from voiceguard.audio import RATE_HZ
from voiceguard.features import loops
from voiceguard.features.spectrum import hann
from voiceguard.features.statistics import MOMENTS, Block, each_frame, sums

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


class Peak(NamedTuple):
    """Where each frame repeats most, among the lags of a pitch; arrays of shape (frames,)."""

    whole_lag: np.ndarray
    """In samples, int64."""
    harmonicity: np.ndarray
    """Autocorrelation there, as if the window were flat, relative to the power."""
    lag: np.ndarray
    """Between samples, float32."""
    harmonicity_beside: np.ndarray
    """That of the sample in the middle of the parabola: another only at either end of the search."""


def find_peak(autocorrelation: np.ndarray) -> Peak:
    """Search the lags `PITCH_LAGS` of a frame's autocorrelation, shape (frames, lags)."""
    low, high = PITCH_LAGS
    window = lag_window(2 * (autocorrelation.shape[1] - 1))
    whole, highest, between, beside = loops.highest_peaks(autocorrelation, window[:high], low)
    power = autocorrelation[:, 0] + np.float32(1e-16)
    return Peak(whole, highest / power, between, beside / power)


def analyse_excitation(autocorrelation: np.ndarray, peak: Peak, speech: np.ndarray) -> Excitation:
    """Periodicity, and log area ratios of the all-pole fit."""
    reflection, gain = loops.reflections(autocorrelation, LPC_ORDER)
    reflection = np.clip(reflection, np.float32(-0.999), np.float32(0.999))
    return Excitation(
        voiced=speech & (peak.harmonicity > VOICED_HARMONICITY),
        harmonicity=peak.harmonicity,
        log_lag=np.log(peak.whole_lag.astype(np.float32)),
        areas=np.log((1 + reflection) / (1 - reflection)) / 2,
        log_gain=np.log(gain + np.float32(1e-9)),
    )


def enough(marked: np.ndarray, bounds: np.ndarray, otherwise: np.ndarray | None = None) -> np.ndarray:
    """Weights of the frames marked, shape (frames,), float32.

    In windows where hardly any is marked, of all frames, or of those that ``otherwise`` marks.
    """
    few = each_frame(sums(marked.astype(np.int64), bounds) < LEAST_VOICED, bounds)
    return np.where(few, True if otherwise is None else otherwise, marked).astype(np.float32)


def pitch(log_lag: np.ndarray, voiced: np.ndarray, bounds: np.ndarray) -> Iterable[Block]:
    """Pitch movement from frame to frame; zeros where too little is voiced."""
    found = loops.pitch_moves(log_lag, voiced, bounds, CALM_STEP, LEAST_VOICED)
    yield Block("pitch.step", MOMENTS, found[:, :4])
    yield Block("pitch.bend", MOMENTS, found[:, 4:8])
    yield Block("pitch", ("jump_share", "spread"), found[:, 8:])


@functools.cache
def lag_window(window_samples: int) -> np.ndarray:
    """Autocorrelation of the Hann window, by lag, with 1 at lag 0: what a periodic signal falls by."""
    window = hann(window_samples).astype(np.float64)
    full = np.correlate(window, window, "full")[window_samples - 1 :]
    return np.maximum(full / full[0], 0.05).astype(np.float32)
