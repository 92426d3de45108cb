"""Acoustic cues: what a person can check by ear and eye beside the score.

The detector does not use them and none of them proves anything alone. They are measured on the speech of one
8 kHz channel by librosa, on demand; no archive scan computes them.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from voiceguard.audio import RATE_HZ
from voiceguard.evidence.librosa_import import librosa
from voiceguard.vad import Segment

MAX_MEASURED_S = 20.0
"""Speech beyond this is not measured: the cues of a voice settle within it, and pitch costs the most."""
_MIN_MEASURED_S = 0.5
_FRAME = 256
_PITCH_FRAME = 512
_HOP = 80
_HOP_S = _HOP / RATE_HZ
_PITCH_MIN_HZ, _PITCH_MAX_HZ = 60.0, 500.0
_VOICED_CORRELATION = 0.6
_MAX_STEP_SEMITONES = 3.0
"""A larger step between frames 10 ms apart is an octave error of the estimator, not a voice."""
_ROLL_OFF_SHARE = 0.95
_LEVEL_BLOCK_S = 0.5
_PAUSE_S = (0.1, 2.0)
"""A shorter gap is a stop consonant; a longer one is not a pause within speech."""


def _cue(label: str, unit: str) -> Any:
    return dataclasses.field(default=None, metadata={"label": label, "unit": unit})


@dataclass(frozen=True)
class Cues:
    """Acoustic cues of one channel; None where there is too little speech to measure one.

    Attributes
    ----------
    measured_s
        Seconds of speech that the cues stand for, at most ``MAX_MEASURED_S``.
    pitch_median_hz
        Median fundamental frequency of voiced speech.
    pitch_range_semitones
        From the 5th to the 95th percentile.
    pitch_movement_semitones_per_s
        Mean absolute change within voiced stretches. Flat reading moves little.
    voiced_share
        Share of speech frames with a pitch, 0–1.
    pauses_per_minute
        Gaps of 0.1–2 s between stretches of speech, a minute of speech and such gaps.
    pause_median_s
        Median length of these gaps.
    pause_variation
        Their standard deviation over their mean. Near 0 all pauses are alike; people vary.
    flatness_db
        Median spectral flatness: 0 dB is white noise, the lower the more tonal.
    roll_off_hz
        Median frequency below which 95 % of a frame's energy lies.
    level_variation_db
        Standard deviation of the level of half-second blocks of speech. Near 0 no block is louder.
    """

    measured_s: float
    pitch_median_hz: float | None = _cue("Pitch, median", "Hz")
    pitch_range_semitones: float | None = _cue("Pitch range", "semitones")
    pitch_movement_semitones_per_s: float | None = _cue("Pitch movement", "semitones/s")
    voiced_share: float | None = _cue("Voiced share of speech", "")
    pauses_per_minute: float | None = _cue("Pauses", "per minute")
    pause_median_s: float | None = _cue("Pause length, median", "s")
    pause_variation: float | None = _cue("Pause variation", "× mean")
    flatness_db: float | None = _cue("Spectral flatness", "dB")
    roll_off_hz: float | None = _cue("95 % of energy below", "Hz")
    level_variation_db: float | None = _cue("Level variation", "dB")


@dataclass(frozen=True)
class Reading:
    """One cue in words, for a table."""

    label: str
    value: float | None
    unit: str
    name: str
    """The field of `Cues`, by which ranges are looked up."""


def readings(cues: Cues) -> tuple[Reading, ...]:
    """Return the cues with their plain-word names and units, in a fixed order."""
    return tuple(
        Reading(field.metadata["label"], getattr(cues, field.name), field.metadata["unit"], field.name)
        for field in dataclasses.fields(cues)
        if "label" in field.metadata
    )


def measure_cues(samples: np.ndarray, speech: Sequence[Segment]) -> Cues:
    """Measure the acoustic cues of one channel on its speech.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,), float32, −1..1]
        One channel at 8 kHz.
    speech : sequence of Segment
        Where speech is, in order.

    Returns
    -------
    Cues
        The same for the same samples.
    """
    pieces = _pieces(samples, speech)
    measured_s = sum(len(piece) for piece in pieces) / RATE_HZ
    if measured_s < _MIN_MEASURED_S:
        return Cues(round(measured_s, 2))
    found = _spectrum(pieces) | _pitch(pieces) | _pauses(speech) | {"level_variation_db": _level(pieces)}
    rounded = {name: None if value is None else round(float(value), 3) for name, value in found.items()}
    return Cues(round(measured_s, 2), **rounded)


def _pieces(samples: np.ndarray, speech: Sequence[Segment]) -> list[np.ndarray]:
    """Cut out the speech, up to ``MAX_MEASURED_S``; each piece holds at least one pitch frame."""
    pieces, room = [], int(MAX_MEASURED_S * RATE_HZ)
    for segment in speech:
        piece = samples[int(segment.start_s * RATE_HZ) : int(segment.end_s * RATE_HZ)][:room]
        if len(piece) >= _PITCH_FRAME:
            pieces.append(piece)
            room -= len(piece)
    return pieces


def _spectrum(pieces: list[np.ndarray]) -> dict[str, float | None]:
    stft = librosa().stft
    magnitudes = np.concatenate(
        [np.abs(stft(piece, n_fft=_FRAME, hop_length=_HOP, center=False)) for piece in pieces], axis=1
    )
    flatness = librosa().feature.spectral_flatness(S=magnitudes)
    roll_off = librosa().feature.spectral_rolloff(
        S=magnitudes, sr=RATE_HZ, n_fft=_FRAME, roll_percent=_ROLL_OFF_SHARE
    )
    return {"flatness_db": 10 * np.log10(np.median(flatness)), "roll_off_hz": np.median(roll_off)}


def _pitch(pieces: list[np.ndarray]) -> dict[str, float | None]:
    """Pitch by YIN [1]_, kept where the signal repeats itself at that period.

    Probabilistic YIN would also say what is voiced, at a hundred times the cost.

    References
    ----------
    .. [1] A. de Cheveigné, H. Kawahara: "YIN, a fundamental frequency estimator for speech and music",
       J. Acoust. Soc. Am. 111(4), 2002.
    """
    tracks = []
    for piece in pieces:
        pitch_hz = librosa().yin(
            piece,
            fmin=_PITCH_MIN_HZ,
            fmax=_PITCH_MAX_HZ,
            sr=RATE_HZ,
            frame_length=_PITCH_FRAME,
            hop_length=_HOP,
            center=False,
        )
        frames = librosa().util.frame(piece, frame_length=_PITCH_FRAME, hop_length=_HOP)
        tracks.append(np.where(_is_voiced(frames, pitch_hz), 12 * np.log2(pitch_hz), np.nan))
    semitones = np.concatenate(tracks)
    voiced = semitones[~np.isnan(semitones)]
    # Beyond an octave from the middle lie the estimator's octave errors.
    voiced = voiced[np.abs(voiced - np.median(voiced)) < 12] if len(voiced) else voiced
    if len(voiced) * _HOP_S < _MIN_MEASURED_S:
        return {"voiced_share": len(voiced) / len(semitones)}
    steps = np.abs(np.concatenate([np.diff(track) for track in tracks]))
    steps = steps[steps < _MAX_STEP_SEMITONES]  # leaves out NaN too: steps into and out of voicing
    low, middle, high = np.percentile(voiced, [5, 50, 95])
    return {
        "voiced_share": len(voiced) / len(semitones),
        "pitch_median_hz": 2 ** (middle / 12),
        "pitch_range_semitones": high - low,
        "pitch_movement_semitones_per_s": steps.mean() / _HOP_S if len(steps) else None,
    }


def _is_voiced(frames: np.ndarray, pitch_hz: np.ndarray) -> np.ndarray:
    """Whether each frame correlates with itself one pitch period later.

    Parameters
    ----------
    frames : np.ndarray [shape=(_PITCH_FRAME, m)]
    pitch_hz : np.ndarray [shape=(m,)]

    Returns
    -------
    np.ndarray [shape=(m,), bool]
    """
    periods = np.round(RATE_HZ / pitch_hz).astype(int)
    # Every frame and its shifted self have the same length, that which the longest period leaves.
    length = _PITCH_FRAME - int(np.ceil(RATE_HZ / _PITCH_MIN_HZ)) - 1
    at = np.arange(length)[:, None]
    now, later = frames[:length], np.take_along_axis(frames, at + periods[None, :], axis=0)
    now, later = now - now.mean(axis=0), later - later.mean(axis=0)
    energy = np.sqrt((now**2).sum(axis=0) * (later**2).sum(axis=0))
    return (now * later).sum(axis=0) > _VOICED_CORRELATION * energy + 1e-9


def _pauses(speech: Sequence[Segment]) -> dict[str, float | None]:
    gaps = np.array([after.start_s - before.end_s for before, after in itertools.pairwise(speech)])
    pauses = gaps[(gaps >= _PAUSE_S[0]) & (gaps <= _PAUSE_S[1])]
    spoken_s = sum(segment.end_s - segment.start_s for segment in speech)
    if not len(pauses):
        return {"pauses_per_minute": 0.0}
    return {
        "pauses_per_minute": len(pauses) / (spoken_s + pauses.sum()) * 60,
        "pause_median_s": np.median(pauses),
        # Three pauses can be alike by chance.
        "pause_variation": pauses.std() / pauses.mean() if len(pauses) > 3 else None,
    }


def _level(pieces: list[np.ndarray]) -> float | None:
    joined = np.concatenate(pieces)
    block = int(_LEVEL_BLOCK_S * RATE_HZ)
    blocks = joined[: len(joined) // block * block].reshape(-1, block).astype(np.float64)
    if len(blocks) < 3:
        return None
    return float(np.std(10 * np.log10((blocks**2).mean(axis=1) + 1e-12)))
