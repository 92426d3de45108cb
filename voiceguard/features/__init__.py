"""Windows of speech -> named spectral features.

One place for serving, training and the reviewers' explanations. A window's features are functionals
(statistics over time) of fine spectral dynamics: how cepstra, band energies, periodicity and the all-pole fit
move from frame to frame. Means are left out wherever the channel sets them.

Sources: linear-frequency cepstra as in Sahidullah, Kinnunen and Hanilçi, "A comparison of features for
synthetic speech detection", Interspeech 2015; modulation spectra as in Wu et al., ICASSP 2013; reflection
coefficients by the Levinson-Durbin recursion (Makhoul, Proc. IEEE 63, 1975).

There are three sets of features, each with the columns of the one before it first: ``light``; ``fine``, which follows
bands at two more resolutions and adds the shape of the spectrum and how periodic each band is; and ``full``, which adds
how single bands move over longer times, how cepstra move together, and their modulation spectra.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterable
from typing import Literal

import numpy as np

from voiceguard.audio import RATE_HZ
from voiceguard.features import loops
from voiceguard.features.envelopes import BANKS, envelope_blocks
from voiceguard.features.excitation import analyse_excitation, autocorrelate, enough, find_peak, pitch
from voiceguard.features.harmonics import LONG_WINDOW_SAMPLES, harmonic_blocks
from voiceguard.features.spectrum import (
    BANDS,
    HOP_SAMPLES,
    WINDOW_SAMPLES,
    band_powers,
    cepstra,
    frame_mask,
    power_spectrogram,
    spectrum_shape,
)
from voiceguard.features.statistics import (
    MOMENTS,
    Block,
    correlations,
    dynamics,
    modulation,
    moments,
    normalise,
    statics,
    without_mean,
)
from voiceguard.vad import FRAME_SAMPLES
from voiceguard.windows import SpeechWindow

REVISION = 2
"""Counted up when a feature keeps its name and changes its meaning: models trained on the old one are refused."""
LEAST_SAMPLES = 4096
"""Shorter windows are padded with zeros: every difference over time needs frames on both sides."""
FLOOR_DB = -60.0
"""Power floor below the window's mean speech power: what a codec left under it is not evidence."""
STEPS = (1, 2, 4)
LAGS = (1, 2, 3, 5, 8)
MODULATION_HZ = (0.5, 2.0, 4.0, 8.0, 16.0, 28.0, 50.0)
BAND_DISTANCES = (1, 2, 3, 4, 6, 8, 12)
JOINT_LAGS = (1, 2, 4)
JOINT_COEFFICIENTS = 16
"""How many cepstra are held against one another at other times."""
CEPSTRAL_MODULATION_HZ = (0.5, 2.0, 4.0, 8.0, 12.0, 16.0, 22.0, 28.0, 40.0, 62.5)

FeatureSet = Literal["light", "fine", "full"]
FEATURE_SETS: tuple[FeatureSet, ...] = ("light", "fine", "full")


def extract(windows: Iterable[SpeechWindow], features: FeatureSet = "full") -> np.ndarray:
    """Compute the features of each window.

    Returns
    -------
    np.ndarray [shape=(windows, features), float32, finite]
        Columns are named by :func:`feature_names`.
    """
    rows = [_extract_window(window, features) for window in windows]
    return np.stack(rows) if rows else np.zeros((0, len(feature_names(features))), np.float32)


@functools.cache
def feature_names(features: FeatureSet = "full") -> tuple[str, ...]:
    """Name each column of :func:`extract`, as ``family.quantity.statistic``."""
    return tuple(sorted(_names_as_computed(features), key=_section))


@functools.cache
def features_sha256(features: FeatureSet = "full") -> str:
    """Fingerprint of what the columns are: their names and order, and how they are computed."""
    said = [REVISION, WINDOW_SAMPLES, HOP_SAMPLES, BANDS, FLOOR_DB, *feature_names(features)]
    return hashlib.sha256("\n".join(map(str, said)).encode()).hexdigest()


_SECTIONS = tuple(
    re.compile(pattern)
    for pattern in (
        r"lfcc\.(d\d|autocorrelation)",
        r"lfcc\.(?!correlation|modulation)",
        r"bands\.",
        r"energy\.",
        r"pitch\.voiced_share",
        r"pitch\.harmonicity",
        r"pitch\.",
        r"lpc\.area",
        r"lpc\.gain",
        r"lfcc_",
        r"envelope8ms",
        r"shape\.(?!d\d|autocorrelation)",
        r"shape\.",
        r"envelope16ms",
        r"envelope4ms",
        r"harmonics",
        r"band\.",
        r"lfcc\.correlation",
        r"lfcc\.modulation",
    )
)
"""In which order the columns are, by the beginning of their names; within a section as they are computed."""


def _section(name: str) -> int:
    return next(index for index, section in enumerate(_SECTIONS) if section.match(name))


@functools.cache
def _names_as_computed(features: FeatureSet) -> tuple[str, ...]:
    noise = np.random.default_rng(0).standard_normal(2 * RATE_HZ).astype(np.float32) * np.float32(0.1)
    window = SpeechWindow(0.0, 2.0, noise, np.ones(len(noise) // FRAME_SAMPLES, dtype=bool))
    return tuple(name for block in _blocks(window, features) for name in block.names())


@functools.cache
def _order(features: FeatureSet) -> np.ndarray:
    """Where each column of a row is among the values as they are computed."""
    return np.argsort([_section(name) for name in _names_as_computed(features)], kind="stable")


def _extract_window(window: SpeechWindow, features: FeatureSet) -> np.ndarray:
    values = np.concatenate([block.values.ravel() for block in _blocks(window, features)], dtype=np.float32)
    return np.nan_to_num(values[_order(features)], copy=False, nan=0.0, posinf=0.0, neginf=0.0)


def _blocks(window: SpeechWindow, features: FeatureSet) -> Iterable[Block]:
    """Compute every family of a set."""
    samples = window.samples - np.float32(window.samples.mean())
    if len(samples) < LEAST_SAMPLES:
        samples = np.pad(samples, (0, LEAST_SAMPLES - len(samples)))
    power = power_spectrogram(samples)
    speech = frame_mask(window.speech, len(power))
    floor = power[speech].mean() * 10 ** (FLOOR_DB / 10) + 1e-16
    by_bin = np.ascontiguousarray(power.T)
    log_bands = np.log(band_powers(by_bin.T) + floor)
    coefficients = cepstra(log_bands)
    pairs = (log_bands[0::2] + log_bands[1::2]) / 2
    autocorrelation = autocorrelate(power)
    peak = find_peak(autocorrelation)
    excitation = analyse_excitation(autocorrelation, peak, speech)
    tracks = {
        "lfcc": coefficients,
        "energy": np.log(np.exp(pairs - pairs.max()).sum(axis=0) + np.float32(1e-9))[None],
        "pitch.harmonicity": excitation.harmonicity[None],
        "lpc.area": excitation.areas,
        "lpc.gain": excitation.log_gain[None],
    }
    if features != "light":
        tracks["shape"] = shape = spectrum_shape(power)
    if features == "full":
        tracks["band"] = log_bands
    yield from dynamics(tracks, speech.astype(np.float32), STEPS, LAGS)
    spoken = {"lfcc": coefficients[:20, speech], "bands": pairs[:, speech]}
    if features != "light":
        spoken["shape"] = shape[:, speech]
    yield from statics(spoken)
    yield from _bands(pairs, speech)
    yield Block("pitch", ("voiced_share",), np.array([excitation.voiced.sum() / speech.sum()]))
    yield from pitch(excitation.log_lag, excitation.voiced)
    yield from _voicing(coefficients, speech, excitation.voiced)
    yield from envelope_blocks(samples, window.speech, BANKS[:1] if features == "light" else BANKS)
    if features != "light":
        yield from harmonic_blocks(power, peak, speech)
        power = power_spectrogram(samples, LONG_WINDOW_SAMPLES)
        long_speech = frame_mask(window.speech, len(power), LONG_WINDOW_SAMPLES)
        yield from harmonic_blocks(power, find_peak(autocorrelate(power)), long_speech)
    if features == "full":
        yield from _joint(coefficients, speech)
        yield modulation(
            "lfcc", without_mean(coefficients[:, speech]), CEPSTRAL_MODULATION_HZ, RATE_HZ / HOP_SAMPLES
        )


def _bands(pairs: np.ndarray, speech: np.ndarray) -> Iterable[Block]:
    """Band energies, shape (bands, frames): movement, modulation spectrum, how far bands move together."""
    centred = without_mean(pairs[:, speech])
    yield Block(
        "bands.delta", MOMENTS, moments(pairs[:, 2:] - pairs[:, :-2], speech[1:-1].astype(np.float32))
    )
    yield modulation("bands", centred, MODULATION_HZ, RATE_HZ / HOP_SAMPLES)
    normal = centred[:, ::2]  # neighbours overlap, and say the same
    normal = normal / (np.sqrt(np.vecdot(normal, normal) / normal.shape[1]) + np.float32(1e-6))[:, None]
    correlation = np.vecdot(normal[:, None], normal[None]) / np.float32(normal.shape[1])
    (rows, columns), starts = band_diagonals()
    chosen_pairs = correlation[rows, columns]
    counts = np.diff([*starts, len(rows)])
    mean = np.add.reduceat(chosen_pairs, starts) / counts
    spread = np.sqrt(np.maximum(np.add.reduceat(chosen_pairs**2, starts) / counts - mean**2, 0))
    for distance, values in zip(BAND_DISTANCES, np.stack([mean, spread], axis=1), strict=True):
        yield Block(f"bands.correlation.{distance}", ("mean", "spread"), values)


def _joint(coefficients: np.ndarray, speech: np.ndarray) -> Iterable[Block]:
    """How cepstra move together, shape (quantities, frames): correlations between all pairs of them.

    Of cepstra themselves, of their first and second differences, of how large the first ones are; and of first
    differences with those of other cepstra some frames later.
    """
    weights = speech.astype(np.float32)
    first = coefficients[:, 2:] - coefficients[:, :-2]
    second = coefficients[:, 4:] - 2 * coefficients[:, 2:-2] + coefficients[:, :-4]
    moving = normalise(first, weights[1:-1])
    for name, normal in (
        ("statics", normalise(coefficients, weights)),
        ("d1x2", moving),
        ("d2x2", normalise(second, weights[2:-2])),
        ("absolute", normalise(np.abs(first), weights[1:-1])),
    ):
        yield Block("lfcc.correlation", (name,), correlations(normal))
    for lag in JOINT_LAGS:
        later = loops.products_at_lag(moving[:JOINT_COEFFICIENTS], lag)
        yield Block("lfcc.correlation", (f"d1x2_later{lag}",), later)


def _voicing(coefficients: np.ndarray, speech: np.ndarray, voiced: np.ndarray) -> Iterable[Block]:
    """Second differences of cepstra, of voiced and of unvoiced frames apart."""
    second = coefficients[:, 4:] - 2 * coefficients[:, 2:-2] + coefficients[:, :-4]
    for name, mask in (("voiced", voiced), ("unvoiced", speech & ~voiced)):
        yield Block(f"lfcc_{name}.d2x2", MOMENTS, moments(second, enough(mask[2:-2])))


@functools.cache
def band_diagonals() -> tuple[np.ndarray, np.ndarray]:
    """Index pairs of the diagonals of a (BANDS // 2)² matrix, by distance; and where each distance starts."""
    pairs = [np.stack([np.arange(BANDS // 2 - d), np.arange(d, BANDS // 2)]) for d in BAND_DISTANCES]
    starts = np.cumsum([0, *(pair.shape[1] for pair in pairs)])[:-1]
    return np.concatenate(pairs, axis=1), starts
