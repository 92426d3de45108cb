"""Windows -> the log-spectrogram that the network hears.

One definition for training and serving: power of the short-time spectra that features rest on, in the telephone
band, floored below the level of the window's speech, and each bin brought to its mean over that speech. The mean of
a bin is the channel, which must not count.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from voiceguard.features.spectrum import WINDOW_SAMPLES, Spectra

LOW_BIN, BINS = 10, 96
"""First bin, and how many: 312 to 3,281 Hz, 31.25 Hz apart."""
FLOOR_DB = -40.0
"""Floor of each bin below the mean power of speech, both after pre-emphasis."""
PRE_EMPHASIS = 0.9
"""Coefficient of the first-order difference that lifts the upper bands, applied to power."""
SPREAD = 2.0
"""What log power is divided by, in nats: about the spread of speech."""
FRAMES_A_STEP = 4
"""So many frames make one step of the network; a window is cut to whole steps."""


LEAST_STEPS = 15
"""So many are heard of every window that has them, whatever share of it is asked for."""


class Heard(NamedTuple):
    """What the network hears of a window."""

    spectrogram: np.ndarray
    """Shape (BINS, frames), float32; 0 is the mean over speech of a bin."""
    weights: np.ndarray
    """How far each step counts, shape (frames // FRAMES_A_STEP,), float32, sum 1."""


def hear(power: np.ndarray, speech: np.ndarray, share: float = 1.0) -> Heard:
    """Compute the network's input of one window.

    Parameters
    ----------
    power : np.ndarray [shape=(frames, WINDOW_SAMPLES // 2 + 1), float32, >= 0]
        Its short-time spectra, as :func:`voiceguard.features.analyse` computes them.
    speech : np.ndarray [shape=(frames,), bool]
        Which of them count.
    share : float
        How much of the window to hear: so long a stretch of it, the first that has the most speech.
    """
    frames = most_speech(speech, share)
    mask = speech[frames].astype(np.float32)
    mask = mask if mask.any() else np.ones_like(mask)
    counts = mask / mask.sum()
    emphasised = power[frames, LOW_BIN : LOW_BIN + BINS].T * emphasis()[:, None]
    floor = (emphasised.mean(axis=0) @ counts) * np.float32(10 ** (FLOOR_DB / 10))
    log = np.log(emphasised + (floor + np.float32(1e-12)))
    log -= (log @ counts)[:, None]
    steps = mask.reshape(-1, FRAMES_A_STEP).mean(axis=1)
    return Heard((log / np.float32(SPREAD)).astype(np.float32, copy=False), steps / steps.sum())


def hear_each(frames: Spectra, share: float = 1.0) -> Iterator[Heard]:
    """Compute the network's input of each window, of spectra side by side."""
    for begin, end in itertools.pairwise(frames.bounds):
        yield hear(frames.power[begin:end], frames.speech[begin:end], share)


def most_speech(speech: np.ndarray, share: float) -> slice:
    """Which frames to hear, of those that ``speech`` marks, shape (frames,), bool: whole steps."""
    every = len(speech) // FRAMES_A_STEP
    steps = min(max(round(share * every), LEAST_STEPS), every)
    spoken = speech[: every * FRAMES_A_STEP].reshape(every, FRAMES_A_STEP).sum(axis=1)
    until = np.concatenate([[0], np.cumsum(spoken)])
    first = int(np.argmax(until[steps:] - until[: every - steps + 1]))
    return slice(first * FRAMES_A_STEP, (first + steps) * FRAMES_A_STEP)


@functools.cache
def emphasis() -> np.ndarray:
    """How far pre-emphasis raises the power of each bin, shape (BINS,), float32."""
    angle = 2 * np.pi * np.arange(LOW_BIN, LOW_BIN + BINS) / WINDOW_SAMPLES
    gains = 1 - 2 * PRE_EMPHASIS * np.cos(angle) + PRE_EMPHASIS**2
    return np.asarray(gains, np.float32)
