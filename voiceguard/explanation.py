"""Which cues moved a score, and where in time and frequency.

Both answers come from occlusion (Zeiler and Fergus, ECCV 2014): take something away, score again, and see how
far the score falls. A family of features is taken away by giving it the mean of human speech; a stretch of
time and frequency by hushing it. What an occlusion says depends on what it leaves, so it points a listener to
a place and proves nothing.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from voiceguard.audio import RATE_HZ
from voiceguard.detector import Detector
from voiceguard.errors import ModelError
from voiceguard.features import FeatureSet, feature_names
from voiceguard.vad import FRAME_SAMPLES, speech_frames
from voiceguard.windows import SpeechWindow, cut_windows

REFERENCE_FILE = "reference.json"
MAP_BANDS_HZ = (0, 300, 600, 1000, 1500, 2000, 2600, 3200, 4000)
MAP_CELL_S = 0.5
HUSH_DB = -20.0
_WINDOW, _HOP = 256, 64


@dataclass(frozen=True)
class Family:
    """Features that say one thing."""

    name: str
    label: str
    pattern: str
    """Which columns of `feature_names` belong to it, as a regular expression for their beginning."""


FAMILIES = (
    Family("timbre_steps", "How fast the timbre changes", r"lfcc\.d1x"),
    Family("timbre_bends", "How abruptly the timbre's change turns", r"lfcc\.d2x"),
    Family("timbre_memory", "How long the timbre resembles itself", r"lfcc\.autocorrelation"),
    Family("timbre_unison", "How the parts of the timbre move together", r"lfcc\.correlation"),
    Family("timbre_rhythm", "Rhythm of the timbre, 0.5 to 60 Hz", r"lfcc\.modulation"),
    Family("timbre_spread", "How widely the timbre varies", r"lfcc\.(log_s|skew|kurt|mean_a|range|median)"),
    Family("voiced_motion", "Movement within voiced sounds", r"lfcc_voiced"),
    Family("unvoiced_motion", "Movement within unvoiced sounds", r"lfcc_unvoiced"),
    Family("band_levels", "How the levels of frequency bands vary", r"bands\.(?!modulation|correlation)"),
    Family("band_motion", "Movement of single frequency bands", r"band\."),
    Family(
        "pulse_motion", "Movement of frequency bands within milliseconds", r"envelope\d+ms\.(?!auto|corr)"
    ),
    Family("pulse_memory", "How long frequency bands resemble themselves", r"envelope\d+ms\.autocorrelation"),
    Family("pulse_unison", "How frequency bands pulse together", r"envelope\d+ms\.correlation"),
    Family("rhythm", "Rhythm of the frequency bands, 0.5 to 50 Hz", r"bands\.modulation"),
    Family("band_unison", "How far frequency bands move together", r"bands\.correlation"),
    Family("loudness_motion", "Movement of the loudness", r"energy"),
    Family("pitch_motion", "Movement of the pitch and share of voiced sound", r"pitch\.(?!harmonicity)"),
    Family("periodicity", "How periodic the voice is, and how that moves", r"pitch\.harmonicity"),
    Family(
        "band_periodicity", "How periodic each frequency band is, and how that moves", r"harmonics\d+\.share"
    ),
    Family("pitch_tremble", "Fine trembling of the pitch", r"harmonics\d+\.tremble"),
    Family("vocal_tract", "Movement of the vocal tract's shape", r"lpc\.area"),
    Family("excitation", "What the vocal tract's shape leaves unexplained", r"lpc\.gain"),
    Family("fine_structure", "Flatness, flux and fine structure of the spectrum", r"shape"),
)


HEARD = Family("heard", "Traces that the network hears in the spectrogram", "")
"""What no named feature says; its weight is what the network adds, beyond what it adds to human speech."""


@dataclass(frozen=True)
class CueWeight:
    """What one family of features did to a score."""

    name: str
    label: str
    weight: float
    """How far the score (natural-log likelihood ratio) falls when the cue is that of mean human speech."""
    human_low: float
    human_high: float
    """From the 5th to the 95th percentile of this weight over unheard human speech of the evaluation."""


@dataclass(frozen=True)
class Reference:
    """What human speech of the evaluation looks like to a model."""

    mean: np.ndarray
    """Mean features, shape (features,), float32."""
    low: np.ndarray
    high: np.ndarray
    """Percentiles 5 and 95 of each family's weight, shape (families,); of the network last, where there is one."""
    network: float | None = None
    """What the network adds to the raw score of human speech, in the mean; None without one."""


@dataclass(frozen=True)
class ScoreMap:
    """How far a window's score falls when a cell of time and frequency is hushed by 20 dB."""

    edges_s: tuple[float, ...]
    """Edges in time, from the window's first kept sample; long pauses are left out."""
    edges_hz: tuple[float, ...]
    falls: np.ndarray
    """Shape (bands, cells of time), float64, natural-log likelihood ratio."""


@functools.cache
def families(features: FeatureSet = "full") -> tuple[Family, ...]:
    """Families that a set of features has."""
    names = feature_names(features)
    return tuple(family for family in FAMILIES if any(re.match(family.pattern, name) for name in names))


@functools.cache
def family_masks(features: FeatureSet = "full") -> np.ndarray:
    """Which columns each of its families has; shape (families, features), bool. Every column is in just one."""
    names = feature_names(features)
    masks = np.array(
        [[re.match(family.pattern, name) is not None for name in names] for family in families(features)]
    )
    if not (masks.sum(axis=0) == 1).all():
        odd = [name for name, count in zip(names, masks.sum(axis=0), strict=True) if count != 1]
        raise AssertionError(f"expected each feature in one family, got {odd[:5]}")
    return masks


def load_reference(folder: Path, features: FeatureSet = "full") -> Reference:
    """Read a model's reference; ``features`` are those of its record.

    Raises
    ------
    ModelError
        If it is missing or does not fit the features.
    """
    path = folder / REFERENCE_FILE
    try:
        raw = json.loads(path.read_text())
        mean = np.array(raw["mean"], np.float32)
        network = raw.get("network")
        known = families(features) + ((HEARD,) if network is not None else ())
        ranges = np.array([raw["ranges"][family.name] for family in known])
    except OSError as error:
        raise ModelError(f"Expected a reference at {path}; it can't be read: {error.strerror}.") from error
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"Expected a complete reference at {path}; got {error!r}.") from error
    count = len(feature_names(features))
    if mean.shape != (count,) or ranges.shape != (len(known), 2):
        raise ModelError(f"Expected {count} features in {path}; got {mean.size}.")
    return Reference(mean, ranges[:, 0], ranges[:, 1], network)


def weigh(detector: Detector, windows: Sequence[SpeechWindow]) -> tuple[CueWeight, ...]:
    """Weigh every family of features, and what the network hears, for one channel's score, heaviest first.

    Parameters
    ----------
    detector : Detector
    windows : sequence of SpeechWindow
        The channel's windows, as :func:`voiceguard.windows.cut_windows` cuts them; at least one.

    Raises
    ------
    ModelError
        If the model has no reference.
    """
    kind = detector.record.features
    reference = load_reference(detector.folder, kind)
    seconds = np.array([window.speech.sum() * FRAME_SAMPLES / RATE_HZ for window in windows])
    features = detector.extract(windows)
    whole = detector.score_features(features)
    slope = detector.record.calibration.slope_at(float(seconds.sum()))
    weights = []
    for mask in family_masks(kind):
        without = detector.score_features(np.where(mask, reference.mean, features))
        weights.append(slope * float(np.average(whole - without, weights=seconds)))
    cues = families(kind)
    if reference.network is not None:
        added = detector.score_spectrograms(windows)
        weights.append(slope * float(np.average(added - reference.network, weights=seconds)))
        cues += (HEARD,)
    found = [
        CueWeight(family.name, family.label, round(weight, 3), float(low), float(high))
        for family, weight, low, high in zip(cues, weights, reference.low, reference.high, strict=True)
    ]
    return tuple(sorted(found, key=lambda cue: -abs(cue.weight)))


def weigh_channel(detector: Detector, samples: np.ndarray) -> tuple[CueWeight, ...]:
    """Weigh the families for one channel's samples, shape (n,), float32, -1..1; it must have been scored."""
    return weigh(detector, cut_windows(samples, speech_frames(samples)))


def map_window(detector: Detector, window: SpeechWindow) -> ScoreMap:
    """Hush one cell of time and frequency after the other and score the window again.

    It takes as many screenings of the window as there are cells: a second or so.
    """
    from scipy.signal import ShortTimeFFT, get_window

    transform = ShortTimeFFT(get_window("hann", _WINDOW), _HOP, RATE_HZ)
    samples = window.samples.astype(np.float64)
    spectrum = transform.stft(samples)
    times_s, bands_hz = transform.t(len(samples)), transform.f
    cells = max(1, round(len(samples) / RATE_HZ / MAP_CELL_S))
    edges_s = np.linspace(0, len(samples) / RATE_HZ, cells + 1)
    gain = 10 ** (HUSH_DB / 20)
    hushed = []
    for low_hz, high_hz in itertools.pairwise(MAP_BANDS_HZ):
        in_band = (bands_hz >= low_hz) & (bands_hz < high_hz)
        for begin_s, end_s in itertools.pairwise(edges_s):
            in_time = (times_s >= begin_s) & (times_s < end_s)
            changed = np.where(in_band[:, None] & in_time, gain * spectrum, spectrum)
            audio = transform.istft(changed, k1=len(samples)).astype(np.float32)
            hushed.append(SpeechWindow(window.start_s, window.end_s, audio, window.speech))
    whole = detector.score([window])[0]
    falls = (whole - detector.score(hushed)).reshape(len(MAP_BANDS_HZ) - 1, cells)
    slope = detector.record.calibration.slope_at(float(window.speech.sum()) * FRAME_SAMPLES / RATE_HZ)
    return ScoreMap(
        tuple(round(float(edge), 3) for edge in edges_s), tuple(map(float, MAP_BANDS_HZ)), slope * falls
    )
