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
import itertools
import re
from collections.abc import Iterable, Sequence
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
    Spectra,
    band_powers,
    cepstra,
    spectra,
    spectrum_shape,
)
from voiceguard.features.statistics import (
    MOMENTS,
    Block,
    bounds_among,
    correlations,
    differences,
    dynamics,
    each_frame,
    modulation,
    moments,
    normalise,
    statics,
    sums,
    within,
    without_mean,
)
from voiceguard.vad import FRAME_SAMPLES
from voiceguard.windows import SpeechWindow

REVISION = 2
"""Counted up when a feature keeps its name and changes its meaning: models trained on the old one are refused."""
WINDOWS_AT_ONCE = 8
"""So many windows go through every step together: many small steps would cost more than the sums."""
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


def analyse(windows: Sequence[SpeechWindow]) -> Spectra:
    """Compute the short-time spectra of windows that their features stand on, side by side."""
    return spectra([_samples(window) for window in windows], [window.speech for window in windows])


def extract(
    windows: Iterable[SpeechWindow], features: FeatureSet = "full", frames: Spectra | None = None
) -> np.ndarray:
    """Compute the features of each window; one does not influence another's.

    Parameters
    ----------
    windows : iterable of SpeechWindow
    features : FeatureSet
    frames : Spectra, optional
        What :func:`analyse` gave for these windows, where it is there already.

    Returns
    -------
    np.ndarray [shape=(windows, features), float32, finite]
        Columns are named by :func:`feature_names`.
    """
    every = list(windows)
    if frames is not None:
        return _extract(every, features, frames)
    starts = range(0, len(every), WINDOWS_AT_ONCE)
    chunks = [every[start : start + WINDOWS_AT_ONCE] for start in starts]
    rows = [_extract(chunk, features, analyse(chunk)) for chunk in chunks]
    return np.concatenate(rows) if rows else np.zeros((0, len(feature_names(features))), np.float32)


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
    return tuple(name for block in _blocks([window], features, analyse([window])) for name in block.names())


@functools.cache
def _order(features: FeatureSet) -> np.ndarray:
    """Where each column of a row is among the values as they are computed."""
    return np.argsort([_section(name) for name in _names_as_computed(features)], kind="stable")


def _extract(windows: Sequence[SpeechWindow], features: FeatureSet, frames: Spectra) -> np.ndarray:
    values = [block.values.reshape(len(windows), -1) for block in _blocks(windows, features, frames)]
    ordered = np.concatenate(values, axis=1, dtype=np.float32)[:, _order(features)]
    return np.nan_to_num(ordered, copy=False, nan=0.0, posinf=0.0, neginf=0.0)


def _samples(window: SpeechWindow) -> np.ndarray:
    samples = window.samples - np.float32(window.samples.mean())
    return samples if len(samples) >= LEAST_SAMPLES else np.pad(samples, (0, LEAST_SAMPLES - len(samples)))


def _blocks(windows: Sequence[SpeechWindow], features: FeatureSet, frames: Spectra) -> Iterable[Block]:
    """Compute every family of a set."""
    samples, masks = [_samples(window) for window in windows], [window.speech for window in windows]
    power, speech, bounds = frames
    share = np.float32(10 ** (FLOOR_DB / 10) / power.shape[1])
    floors = sums(power.sum(axis=1) * speech, bounds) / sums(frames.weights, bounds) * share
    log_bands = np.log(band_powers(power) + each_frame(floors + np.float32(1e-16), bounds))
    coefficients = cepstra(log_bands)
    pairs = (log_bands[0::2] + log_bands[1::2]) / 2
    loudest = each_frame(np.maximum.reduceat(pairs.max(axis=0), bounds[:-1]), bounds)
    autocorrelation = autocorrelate(power)
    peak = find_peak(autocorrelation)
    excitation = analyse_excitation(autocorrelation, peak, speech)
    tracks = {
        "lfcc": coefficients,
        "energy": np.log(np.exp(pairs - loudest).sum(axis=0) + np.float32(1e-9))[None],
        "pitch.harmonicity": excitation.harmonicity[None],
        "lpc.area": excitation.areas,
        "lpc.gain": excitation.log_gain[None],
    }
    if features != "light":
        tracks["shape"] = shape = spectrum_shape(power, bounds)
    if features == "full":
        tracks["band"] = log_bands
    yield from dynamics(tracks, frames.weights, bounds, STEPS, LAGS)
    spoken_bounds = bounds_among(speech, bounds)
    spoken = {"lfcc": coefficients[:20, speech], "bands": pairs[:, speech]}
    if features != "light":
        spoken["shape"] = shape[:, speech]
    yield from statics(spoken, spoken_bounds)
    yield from _bands(pairs, frames, spoken["bands"], spoken_bounds)
    voiced = sums(excitation.voiced.astype(np.float32), bounds) / sums(frames.weights, bounds)
    yield Block("pitch", ("voiced_share",), voiced)
    yield from pitch(excitation.log_lag, excitation.voiced, bounds)
    yield from _voicing(coefficients, excitation.voiced, frames)
    yield from envelope_blocks(samples, masks, BANKS[:1] if features == "light" else BANKS)
    if features != "light":
        yield from harmonic_blocks(frames, peak)
        long = spectra(samples, masks, LONG_WINDOW_SAMPLES)
        yield from harmonic_blocks(long, find_peak(autocorrelate(long.power)))
    if features == "full":
        yield from _joint(coefficients, frames)
        centred = without_mean(coefficients[:, speech], spoken_bounds)
        yield modulation("lfcc", centred, spoken_bounds, CEPSTRAL_MODULATION_HZ, RATE_HZ / HOP_SAMPLES)


def _bands(pairs: np.ndarray, frames: Spectra, spoken: np.ndarray, bounds: np.ndarray) -> Iterable[Block]:
    """Band energies, shape (bands, frames): movement, modulation spectrum, how far bands move together.

    ``spoken`` are those of frames of speech alone, within ``bounds``.
    """
    moving = frames.weights * within(frames.bounds, 1)
    yield Block("bands.delta", MOMENTS, moments(differences(pairs, 1), moving, frames.bounds))
    centred = without_mean(spoken, bounds)
    yield modulation("bands", centred, bounds, MODULATION_HZ, RATE_HZ / HOP_SAMPLES)
    every_other = np.concatenate([np.arange(*ends) % 2 == ends[0] % 2 for ends in itertools.pairwise(bounds)])
    normal, bounds = centred[:, every_other], bounds_among(every_other, bounds)  # neighbours overlap
    counts = np.diff(bounds)
    level = np.sqrt(sums(normal * normal, bounds) / counts) + np.float32(1e-6)
    normal = (normal / each_frame(level, bounds)).astype(np.float32)
    (rows, columns), starts = band_diagonals()
    # Where a pair of rows is among all pairs, each once.
    places = rows * (2 * len(pairs) - rows - 1) // 2 + columns - rows - 1
    chosen = loops.products_of_pairs(normal, bounds)[:, places] / counts[:, None]
    sizes = np.diff([*starts, len(rows)])
    mean = np.add.reduceat(chosen, starts, axis=1) / sizes
    spread = np.sqrt(np.maximum(np.add.reduceat(chosen**2, starts, axis=1) / sizes - mean**2, 0))
    for index, distance in enumerate(BAND_DISTANCES):
        values = np.stack([mean[:, index], spread[:, index]], axis=1)
        yield Block(f"bands.correlation.{distance}", ("mean", "spread"), values)


def _joint(coefficients: np.ndarray, frames: Spectra) -> Iterable[Block]:
    """How cepstra move together, shape (quantities, frames): correlations between all pairs of them.

    Of cepstra themselves, of their first and second differences, of how large the first ones are; and of first
    differences with those of other cepstra some frames later.
    """
    bounds, weights = frames.bounds, frames.weights
    first, once = differences(coefficients, 1), weights * within(bounds, 1)
    second, twice = differences(coefficients, 2), weights * within(bounds, 2)
    moving = normalise(first, once, bounds)
    for name, normal in (
        ("statics", normalise(coefficients, weights, bounds)),
        ("d1x2", moving),
        ("d2x2", normalise(second, twice, bounds)),
        ("absolute", normalise(np.abs(first), once, bounds)),
    ):
        yield Block("lfcc.correlation", (name,), correlations(normal, bounds))
    for lag in JOINT_LAGS:
        later = loops.products_at_lag(moving[:JOINT_COEFFICIENTS], bounds, lag)
        yield Block("lfcc.correlation", (f"d1x2_later{lag}",), later)


def _voicing(coefficients: np.ndarray, voiced: np.ndarray, frames: Spectra) -> Iterable[Block]:
    """Second differences of cepstra, of voiced and of unvoiced frames apart."""
    second, inside = differences(coefficients, 2), within(frames.bounds, 2)
    for name, mask in (("voiced", voiced), ("unvoiced", frames.speech & ~voiced)):
        weights = enough(mask & inside, frames.bounds, inside)
        yield Block(f"lfcc_{name}.d2x2", MOMENTS, moments(second, weights, frames.bounds))


@functools.cache
def band_diagonals() -> tuple[np.ndarray, np.ndarray]:
    """Index pairs of the diagonals of a (BANDS // 2)² matrix, by distance; and where each distance starts."""
    pairs = [np.stack([np.arange(BANDS // 2 - d), np.arange(d, BANDS // 2)]) for d in BAND_DISTANCES]
    starts = np.cumsum([0, *(pair.shape[1] for pair in pairs)])[:-1]
    return np.concatenate(pairs, axis=1), starts
