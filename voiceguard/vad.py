"""Which samples are speech.

webrtcvad judges 20 ms at a time; speech is marked in 10 ms frames. What webrtcvad takes for speech by mistake is
taken out again: steady tones (ringing, dial and hold tones, beeps), steady noise, and frames far below the
speech's own level.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import scipy.fft

from voiceguard.audio import RATE_HZ

FRAME_S = 0.01
FRAME_SAMPLES = RATE_HZ // 100
MIN_SCORED_S = 0.8
"""Speech below this is not scored at all; between this and the calibration's minimum the verdict abstains."""
AGGRESSIVENESS = 2
"""webrtcvad's mode: 0 keeps most, 3 least."""
TONE_FRAMES = 40
"""Frames over which a steady tone is looked for (400 ms): longer than any voice stays within a few hertz."""
TONE_SHARE = 0.9
TONE_PEAKS = 4
NOISE_FRAMES = 100
"""Frames over which steady noise is looked for (1 s)."""
NOISE_SPREAD_DB = 1.3
"""Levels of 10 ms frames of telephone-band noise spread by 0.8 dB; of speech in noise as loud, by over 2 dB."""
LOUD_RANGE_DB = 40.0
"""Frames this far below the loud speech are pauses, whatever webrtcvad says."""


@dataclass(frozen=True)
class Segment:
    """A stretch of speech; times in seconds from the recording's start."""

    start_s: float
    end_s: float


def speech_frames(samples: np.ndarray) -> np.ndarray:
    """Mark the 10 ms frames that hold speech.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,), float32, -1..1]
        One channel at 8 kHz.

    Returns
    -------
    np.ndarray [shape=(n // 80,), bool]
    """
    import webrtcvad

    count = len(samples) // FRAME_SAMPLES
    if count == 0:
        return np.zeros(0, dtype=bool)
    frames = samples[: count * FRAME_SAMPLES].reshape(count, FRAME_SAMPLES)
    level_db = 10 * np.log10(np.einsum("ij,ij->i", frames, frames) / FRAME_SAMPLES + 1e-12)
    # The detector is level-dependent: bring the loud part to a usual level first.
    gain = 10 ** ((-20.0 - np.percentile(level_db, 95)) / 20)
    pcm = np.clip(np.rint(frames * (gain * 32768.0)), -32768, 32767).astype("<i2")
    raw = pcm.tobytes() + bytes(2 * FRAME_SAMPLES * (count % 2))
    detect = webrtcvad.Vad(AGGRESSIVENESS).is_speech
    size = 4 * FRAME_SAMPLES
    judged = np.fromiter(
        (detect(raw[start : start + size], RATE_HZ) for start in range(0, len(raw), size)), bool
    )
    speech = np.repeat(judged, 2)[:count]
    if not speech.any():
        return speech
    speech &= ~_steady_tones(frames) & ~_steady_noise(level_db)
    if speech.any():
        speech &= level_db > np.percentile(level_db[speech], 95) - LOUD_RANGE_DB
    return _smooth(speech)


def segments(speech: np.ndarray) -> tuple[Segment, ...]:
    """Turn a frame mask, shape (n,), into its stretches of speech."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], speech.astype(np.int8), [0]])))
    return tuple(
        Segment(round(start * FRAME_S, 2), round(end * FRAME_S, 2))
        for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    )


@functools.lru_cache(maxsize=64)
def hanning(size: int) -> np.ndarray:
    """Symmetric Hann window, shape (size,), float32."""
    return np.hanning(size).astype(np.float32)


def _steady_tones(frames: np.ndarray) -> np.ndarray:
    """Mark frames whose power stays in the same few spectral lines, shape (n,).

    Voices move: even a held vowel spreads over its harmonics. Ringing and hold tones put nearly all power
    into one to four lines that do not move for the length of the stretch.
    """
    count = len(frames)
    blocks = count // TONE_FRAMES
    tones = np.zeros(count, dtype=bool)
    if blocks == 0:
        return tones
    stretch = frames[: blocks * TONE_FRAMES].reshape(blocks, TONE_FRAMES * FRAME_SAMPLES)
    spectrum = scipy.fft.rfft(stretch * hanning(stretch.shape[1]), axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    total = power.sum(axis=1) + 1e-12
    share = np.zeros(blocks)
    rows = np.arange(blocks)
    for _ in range(TONE_PEAKS):
        peak = power.argmax(axis=1)
        for offset in (-2, -1, 0, 1, 2):
            bin_ = np.clip(peak + offset, 0, power.shape[1] - 1)
            share += power[rows, bin_]
            power[rows, bin_] = 0
    tones[: blocks * TONE_FRAMES] = np.repeat(share / total > TONE_SHARE, TONE_FRAMES)
    return tones


def _steady_noise(level_db: np.ndarray) -> np.ndarray:
    """Mark frames in stretches whose level does not move, shape (n,)."""
    blocks = len(level_db) // NOISE_FRAMES
    noise = np.zeros(len(level_db), dtype=bool)
    spread_db = level_db[: blocks * NOISE_FRAMES].reshape(blocks, NOISE_FRAMES).std(axis=1)
    noise[: blocks * NOISE_FRAMES] = np.repeat(spread_db < NOISE_SPREAD_DB, NOISE_FRAMES)
    return noise


def _smooth(speech: np.ndarray) -> np.ndarray:
    """Close gaps of up to 50 ms and drop bursts under 50 ms."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], speech.astype(np.int8), [0]])))
    starts, ends = edges[::2], edges[1::2]
    if len(starts) == 0:
        return speech
    keep = np.concatenate([[True], starts[1:] - ends[:-1] > 5])
    starts = starts[keep]
    ends = ends[np.concatenate([keep[1:], [True]])]
    smoothed = np.zeros_like(speech)
    for start, end in zip(starts, ends, strict=True):
        if end - start >= 5:
            smoothed[start:end] = True
    return smoothed
