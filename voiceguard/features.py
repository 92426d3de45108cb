"""Windows of speech -> named spectral features.

One place for serving, training and the reviewers' explanations. A window's features are functionals
(statistics over time) of fine spectral dynamics: how cepstra, band energies, periodicity and the all-pole fit
move from frame to frame. Means are left out wherever the channel sets them.

Sources: linear-frequency cepstra as in Sahidullah, Kinnunen and Hanilçi, "A comparison of features for
synthetic speech detection", Interspeech 2015; modulation spectra as in Wu et al., ICASSP 2013; reflection
coefficients by the Levinson-Durbin recursion (Makhoul, Proc. IEEE 63, 1975).

There are two sets of features: ``light``, and ``full``, which has the columns of ``light`` first and then how
single bands move, how cepstra move together, and their modulation spectra, at a quarter more cost.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import scipy.fft
import scipy.sparse

from voiceguard.audio import RATE_HZ
from voiceguard.vad import FRAME_SAMPLES
from voiceguard.windows import SpeechWindow

REVISION = 2
"""Counted up when a feature keeps its name and changes its meaning: models trained on the old one are refused."""
LEAST_SAMPLES = 4096
"""Shorter windows are padded with zeros: every difference over time needs frames on both sides."""
FLOOR_DB = -60.0
"""Power floor below the window's mean speech power: what a codec left under it is not evidence."""
BAND_LOW_HZ, BAND_HIGH_HZ = 200.0, 3700.0


WINDOW_SAMPLES, HOP_SAMPLES = 256, 64
"""Short-time analysis: 32 ms windows every 8 ms."""
BANDS, COEFFICIENTS = 40, 30
STEPS = (1, 2, 4)
ORDERS = (1, 2, 3)
LAGS = (1, 2, 3, 5, 8)
MODULATION_HZ = (0.5, 2.0, 4.0, 8.0, 16.0, 28.0, 50.0)
BAND_DISTANCES = (1, 2, 3, 4, 6, 8, 12)
LPC_ORDER = 10
PITCH_LAGS = (RATE_HZ // 400, RATE_HZ // 62 - 1)
VOICED_HARMONICITY = 0.45
JOINT_LAGS = (1, 2, 4)
JOINT_COEFFICIENTS = 16
"""How many cepstra are held against one another at other times."""
CEPSTRAL_MODULATION_HZ = (0.5, 2.0, 4.0, 8.0, 12.0, 16.0, 22.0, 28.0, 40.0, 62.5)

FeatureSet = Literal["light", "full"]
FEATURE_SETS: tuple[FeatureSet, ...] = ("light", "full")


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


def power_spectrogram(samples: np.ndarray) -> np.ndarray:
    """Short-time power spectrum with a periodic Hann window.

    Returns
    -------
    np.ndarray [shape=(1 + (n - WINDOW_SAMPLES) // HOP_SAMPLES, WINDOW_SAMPLES // 2 + 1), float32, >= 0]
    """
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW_SAMPLES)
    spectrum = scipy.fft.rfft(frames[::HOP_SAMPLES] * _hann(), axis=1)
    return spectrum.real**2 + spectrum.imag**2


def band_powers(power: np.ndarray) -> np.ndarray:
    """Sum a power spectrogram into triangular bands, evenly spaced in frequency.

    Parameters
    ----------
    power : np.ndarray [shape=(frames, WINDOW_SAMPLES // 2 + 1), float32]

    Returns
    -------
    np.ndarray [shape=(BANDS, frames), float32, >= 0]
    """
    # Sparse, not BLAS: its sums don't depend on the thread count, and most weights are zero.
    return _triangles() @ power.T


def cepstra(log_bands: np.ndarray) -> np.ndarray:
    """Orthonormal DCT-II over bands, without the zeroth coefficient.

    Parameters
    ----------
    log_bands : np.ndarray [shape=(BANDS, frames), float32]
        Natural-log band powers.

    Returns
    -------
    np.ndarray [shape=(COEFFICIENTS, frames), float32, C order]
    """
    transformed = scipy.fft.dct(log_bands, type=2, norm="ortho", axis=0)
    return np.ascontiguousarray(transformed[1 : COEFFICIENTS + 1])


MOMENTS = ("log_spread", "skewness", "kurtosis", "mean_absolute")


class _Block(NamedTuple):
    """Values of some families, shape (len(statistics), quantities), a family's quantities side by side."""

    family: str
    statistics: tuple[str, ...]
    values: np.ndarray
    groups: tuple[tuple[str, int], ...] = (("", 0),)
    """What stands before ``family`` for how many of the quantities; 0 for all of them."""

    def names(self) -> Iterable[str]:
        quantities = self.values.size // len(self.statistics)
        for statistic in self.statistics:
            for group, count in self.groups:
                base, count = f"{group}{self.family}.{statistic}", count or quantities
                yield from (f"{base}.{index}" for index in range(count)) if count > 1 else (base,)


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
        r"shape\.(?!d\d|autocorrelation)",
        r"shape\.",
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


def _blocks(window: SpeechWindow, features: FeatureSet) -> Iterable[_Block]:
    """Compute every family of a set."""
    samples = window.samples - np.float32(window.samples.mean())
    if len(samples) < LEAST_SAMPLES:
        samples = np.pad(samples, (0, LEAST_SAMPLES - len(samples)))
    power = power_spectrogram(samples)
    speech = _frame_mask(window.speech, len(power))
    floor = power[speech].mean() * 10 ** (FLOOR_DB / 10) + 1e-16
    log_bands = np.log(band_powers(power) + floor)
    coefficients = cepstra(log_bands)
    pairs = (log_bands[0::2] + log_bands[1::2]) / 2
    excitation = _analyse_excitation(power, speech)
    shape = _spectrum_shape(np.ascontiguousarray(power.T))
    tracks = {
        "lfcc": coefficients,
        "energy": np.log(np.exp(pairs - pairs.max()).sum(axis=0) + np.float32(1e-9))[None],
        "pitch.harmonicity": excitation.harmonicity[None],
        "lpc.area": excitation.areas,
        "lpc.gain": excitation.log_gain[None],
        "shape": shape,
    }
    if features == "full":
        tracks["band"] = log_bands
    yield from _dynamics(tracks, speech)
    yield from _statics("lfcc", coefficients[:20, speech])
    yield from _bands(pairs, speech)
    yield _Block("pitch", ("voiced_share",), np.array([excitation.voiced.sum() / speech.sum()]))
    yield from _pitch(excitation.log_lag, excitation.voiced)
    yield from _voicing(coefficients, speech, excitation.voiced)
    yield from _statics("shape", shape[:, speech])
    if features == "full":
        yield from _joint(coefficients, speech)
        yield from _cepstral_modulation(coefficients[:, speech])


def _frame_mask(speech: np.ndarray, count: int) -> np.ndarray:
    """Which analysis frames have their centre in speech; all of them where none has."""
    centres = np.arange(count) * HOP_SAMPLES + WINDOW_SAMPLES // 2
    frame = np.minimum(centres // FRAME_SAMPLES, len(speech) - 1)
    mask = speech[frame] if len(speech) else np.zeros(count, dtype=bool)
    return mask if mask.sum() >= 16 else np.ones(count, dtype=bool)


def _dynamics(groups: dict[str, np.ndarray], speech: np.ndarray) -> Iterable[_Block]:
    """Statistics of differences of several orders and steps, and autocorrelation.

    ``groups`` names tracks of shape (quantities, frames). They go through the statistics together: many small
    calls would cost more than the sums.
    """
    tracks = np.concatenate(list(groups.values()))
    named = tuple((name, len(values)) for name, values in groups.items())
    weights = speech.astype(np.float32)
    for step in STEPS:
        difference = tracks
        for order in ORDERS:
            difference = difference[:, step:] - difference[:, :-step]
            lead = order * step // 2
            moments = _moments(difference, weights[lead : lead + difference.shape[1]])
            yield _Block(f".d{order}x{step}", MOMENTS, moments, named)
            if order == 1:
                first_spread = moments[0]
            else:
                yield _Block(f".d{order}x{step}", ("relative_spread",), moments[0] - first_spread, named)
    mean = np.vecdot(tracks, weights) / np.float32(weights.sum())
    centred = (tracks - mean[:, None]) * weights
    power = np.vecdot(centred, centred) + np.float32(1e-9)
    for lag in LAGS:
        correlation = np.vecdot(centred[:, lag:], centred[:, :-lag]) / power
        yield _Block(".autocorrelation", (str(lag),), correlation, named)


def _moments(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Log standard deviation, skewness, kurtosis and mean absolute over standard deviation of each row.

    ``values`` has shape (quantities, frames); only frames of weight 1 count, the others have weight 0. Kurtosis
    and skewness are compressed (log and signed square root): their tails are heavy. Returns shape
    (4, quantities).
    """
    share = np.float32(1 / max(weights.sum(), 1))
    centred = values - (np.vecdot(values, weights) * share)[:, None]
    centred *= weights
    squares = centred * centred
    variance = np.vecdot(centred, centred) * share + np.float32(1e-10)
    spread = np.sqrt(variance)
    skewness = np.vecdot(squares, centred) * share / (variance * spread)
    kurtosis = np.vecdot(squares, squares) * share / (variance * variance)
    moments = np.empty((len(MOMENTS), len(values)), np.float32)
    np.log(spread, out=moments[0])
    np.copysign(np.sqrt(np.abs(skewness)), skewness, out=moments[1])
    np.log(np.maximum(kurtosis, 1), out=moments[2])
    np.divide(np.vecdot(np.abs(centred, out=centred), weights) * share, spread, out=moments[3])
    return moments


def _statics(family: str, tracks: np.ndarray) -> Iterable[_Block]:
    """Statistics of the tracks themselves, shape (quantities, frames); their means are the channel's."""
    moments = _moments(tracks, np.ones(tracks.shape[1], np.float32))
    ordered = np.sort(tracks[:, ::2], axis=1)
    yield _Block(family, MOMENTS, moments)
    low, middle, high = (_quantile(ordered, share) for share in (0.1, 0.5, 0.9))
    scale = np.exp(moments[0])
    yield _Block(family, ("range",), (high - low) / scale)
    yield _Block(family, ("median",), (middle - tracks.mean(axis=1)) / scale)


def _quantile(ordered: np.ndarray, share: float) -> np.ndarray:
    """Quantile of each sorted row, interpolated linearly; (quantities, frames) -> (quantities,)."""
    index, rest = divmod(share * (ordered.shape[1] - 1), 1)
    low, high = ordered[:, int(index)], ordered[:, min(int(index) + 1, ordered.shape[1] - 1)]
    return low + np.float32(rest) * (high - low)


def _bands(pairs: np.ndarray, speech: np.ndarray) -> Iterable[_Block]:
    """Band energies, shape (bands, frames): statistics, modulation spectrum, how far bands move together."""
    chosen = pairs[:, speech]
    yield from _statics("bands", chosen)
    centred = chosen - chosen.mean(axis=1, keepdims=True)
    yield _Block(
        "bands.delta", MOMENTS, _moments(pairs[:, 2:] - pairs[:, :-2], speech[1:-1].astype(np.float32))
    )
    yield _modulation("bands", centred, MODULATION_HZ)
    normal = centred[:, ::2]  # neighbours overlap, and say the same
    normal = normal / (np.sqrt(np.vecdot(normal, normal) / normal.shape[1]) + np.float32(1e-6))[:, None]
    correlation = np.vecdot(normal[:, None], normal[None]) / np.float32(normal.shape[1])
    (rows, columns), starts = _diagonals()
    chosen_pairs = correlation[rows, columns]
    counts = np.diff([*starts, len(rows)])
    mean = np.add.reduceat(chosen_pairs, starts) / counts
    spread = np.sqrt(np.maximum(np.add.reduceat(chosen_pairs**2, starts) / counts - mean**2, 0))
    for distance, values in zip(BAND_DISTANCES, np.stack([mean, spread], axis=1), strict=True):
        yield _Block(f"bands.correlation.{distance}", ("mean", "spread"), values)


def _modulation(family: str, centred: np.ndarray, edges_hz: tuple[float, ...]) -> _Block:
    """Log share of the power that tracks without mean, shape (quantities, frames), have in each range."""
    size = scipy.fft.next_fast_len(centred.shape[1], real=True)
    spectrum = scipy.fft.rfft(centred * _hanning(centred.shape[1]), size)
    modulation = spectrum.real**2 + spectrum.imag**2
    edges = np.ceil(np.array(edges_hz) * size * HOP_SAMPLES / RATE_HZ).astype(int)
    ranges = np.stack([modulation[:, low:high].sum(axis=1) for low, high in itertools.pairwise(edges)])
    shares = np.log(ranges / (modulation.sum(axis=1) + np.float32(1e-9)) + np.float32(1e-6))
    return _Block(f"{family}.modulation", tuple(f"{low:g}hz" for low in edges_hz[:-1]), shares)


def _cepstral_modulation(chosen: np.ndarray) -> Iterable[_Block]:
    """Modulation spectrum of cepstra of speech frames, shape (quantities, frames)."""
    yield _modulation("lfcc", chosen - chosen.mean(axis=1, keepdims=True), CEPSTRAL_MODULATION_HZ)


def _joint(coefficients: np.ndarray, speech: np.ndarray) -> Iterable[_Block]:
    """How cepstra move together, shape (quantities, frames): correlations between all pairs of them.

    Of cepstra themselves, of their first and second differences, of how large the first ones are; and of first
    differences with those of other cepstra some frames later.
    """
    weights = speech.astype(np.float32)
    first = coefficients[:, 2:] - coefficients[:, :-2]
    second = coefficients[:, 4:] - 2 * coefficients[:, 2:-2] + coefficients[:, :-4]
    pairs = _pairs_above_diagonal()
    moving = _normalise(first, weights[1:-1])
    for name, normal in (
        ("statics", _normalise(coefficients, weights)),
        ("d1x2", moving),
        ("d2x2", _normalise(second, weights[2:-2])),
        ("absolute", _normalise(np.abs(first), weights[1:-1])),
    ):
        yield _Block("lfcc.correlation", (name,), np.vecdot(normal[:, None], normal[None])[pairs])
    for lag in JOINT_LAGS:
        early, late = moving[:JOINT_COEFFICIENTS, :-lag], moving[:JOINT_COEFFICIENTS, lag:]
        yield _Block("lfcc.correlation", (f"d1x2_later{lag}",), np.vecdot(late[:, None], early[None]))


def _normalise(tracks: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Tracks, shape (quantities, frames), without their mean and of length 1, over frames of weight 1."""
    mean = np.vecdot(tracks, weights) / np.float32(max(weights.sum(), 1))
    centred = (tracks - mean[:, None]) * weights
    return np.asarray(centred / np.sqrt(np.vecdot(centred, centred) + np.float32(1e-9))[:, None])


@dataclass(frozen=True)
class _Excitation:
    """Periodicity and all-pole fit of each frame; arrays of shape (frames,), areas (LPC_ORDER, frames)."""

    voiced: np.ndarray
    harmonicity: np.ndarray
    log_lag: np.ndarray
    areas: np.ndarray
    log_gain: np.ndarray


def _analyse_excitation(power: np.ndarray, speech: np.ndarray) -> _Excitation:
    """Find pitch by the autocorrelation's peak, and log area ratios of the all-pole fit."""
    autocorrelation = scipy.fft.dct(power, type=1, axis=1)  # the inverse transform of a real even spectrum
    low, high = PITCH_LAGS
    search = autocorrelation[:, low:high] * (1 / _lag_window()[low:high])
    best = search.argmax(axis=1)
    harmonicity = search[np.arange(len(search)), best] / (autocorrelation[:, 0] + np.float32(1e-16))
    reflection, gain = _reflection(autocorrelation[:, : LPC_ORDER + 1])
    reflection = np.clip(reflection, np.float32(-0.999), np.float32(0.999))
    return _Excitation(
        voiced=speech & (harmonicity > VOICED_HARMONICITY),
        harmonicity=harmonicity,
        log_lag=np.log(best.astype(np.float32) + low),
        areas=np.log((1 + reflection) / (1 - reflection)) / 2,
        log_gain=np.log(gain + np.float32(1e-9)),
    )


def _voicing(coefficients: np.ndarray, speech: np.ndarray, voiced: np.ndarray) -> Iterable[_Block]:
    """Second differences of cepstra, of voiced and of unvoiced frames apart."""
    second = coefficients[:, 4:] - 2 * coefficients[:, 2:-2] + coefficients[:, :-4]
    for name, mask in (("voiced", voiced), ("unvoiced", speech & ~voiced)):
        weights = mask[2:-2].astype(np.float32)
        if weights.sum() < 16:
            weights = np.ones_like(weights)
        yield _Block(f"lfcc_{name}.d2x2", MOMENTS, _moments(second, weights))


def _pitch(log_lag: np.ndarray, voiced: np.ndarray) -> Iterable[_Block]:
    """Pitch movement from frame to frame; zeros where too little is voiced."""
    steps = np.diff(log_lag)
    both = voiced[1:] & voiced[:-1]
    calm = both & (np.abs(steps) < 0.15)
    step = bend = np.zeros((len(MOMENTS), 1))
    jumps = spread = 0.0
    if calm.sum() >= 16:
        smooth = calm[1:] & calm[:-1] if (calm[1:] & calm[:-1]).any() else np.ones(len(calm) - 1, dtype=bool)
        step = _moments(steps[None], calm.astype(np.float32))
        bend = _moments(np.diff(steps)[None], smooth.astype(np.float32))
        jumps = (both & ~calm).sum() / both.sum()
        spread = np.log(log_lag[voiced].std() + 1e-4)
    yield _Block("pitch.step", MOMENTS, step)
    yield _Block("pitch.bend", MOMENTS, bend)
    yield _Block("pitch", ("jump_share", "spread"), np.array([jumps, spread]))


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
    error = normal[0].copy()
    for index in range(1, order + 1):
        projected = (coefficients[:index] * normal[index:0:-1]).sum(axis=0)
        factor = np.clip(-projected / error, np.float32(-0.9999), np.float32(0.9999))
        reflection[index - 1] = factor
        coefficients[1 : index + 1] += factor * coefficients[index - 1 :: -1][:index]
        error *= 1 - factor * factor
    return reflection, error


def _spectrum_shape(power: np.ndarray) -> np.ndarray:
    """Flatness, entropy, flux, and fine structure between harmonics in three ranges.

    ``power`` has shape (bins, frames), C order; returns shape (6, frames).
    """
    chosen = power[_bin(300) : _bin(3400)]
    chosen = chosen / (chosen.sum(axis=0) + np.float32(1e-16)) + np.float32(1e-7)
    logs = np.log(chosen)
    flux = np.zeros(power.shape[1], np.float32)
    flux[1:] = np.abs(np.diff(chosen, axis=1)).sum(axis=0)
    bends = np.abs(logs[2:] - 2 * logs[1:-1] + logs[:-2])
    split = (0, _bin(1000) - _bin(300), _bin(2000) - _bin(300), len(logs))
    fine = [bends[begin : end - 2].mean(axis=0) for begin, end in itertools.pairwise(split)]
    return np.stack([logs.mean(axis=0), -(chosen * logs).sum(axis=0), flux, *fine])


def _bin(frequency_hz: float) -> int:
    return round(frequency_hz * WINDOW_SAMPLES / RATE_HZ)


@functools.cache
def _hann() -> np.ndarray:
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW_SAMPLES) / WINDOW_SAMPLES)).astype(np.float32)


@functools.lru_cache(maxsize=64)
def _hanning(size: int) -> np.ndarray:
    return np.hanning(size).astype(np.float32)


@functools.cache
def _lag_window() -> np.ndarray:
    """Autocorrelation of the Hann window, by lag, with 1 at lag 0: what a periodic signal falls by."""
    window = _hann().astype(np.float64)
    full = np.correlate(window, window, "full")[WINDOW_SAMPLES - 1 :]
    return np.maximum(full / full[0], 0.05).astype(np.float32)


@functools.cache
def _triangles() -> scipy.sparse.csr_array:
    """Tabulate the filters of :func:`band_powers`, shape (BANDS, bins), weights 0..1."""
    edges_hz = np.linspace(BAND_LOW_HZ, BAND_HIGH_HZ, BANDS + 2)
    bins_hz = np.arange(WINDOW_SAMPLES // 2 + 1) * RATE_HZ / WINDOW_SAMPLES
    distance = np.abs(bins_hz[:, None] - edges_hz[None, 1:-1]) / (edges_hz[1] - edges_hz[0])
    return scipy.sparse.csr_array(np.maximum(1 - distance, 0).T.astype(np.float32))


@functools.cache
def _diagonals() -> tuple[np.ndarray, np.ndarray]:
    """Index pairs of the diagonals of a (BANDS // 2)² matrix, by distance; and where each distance starts."""
    pairs = [np.stack([np.arange(BANDS // 2 - d), np.arange(d, BANDS // 2)]) for d in BAND_DISTANCES]
    starts = np.cumsum([0, *(pair.shape[1] for pair in pairs)])[:-1]
    return np.concatenate(pairs, axis=1), starts


@functools.cache
def _pairs_above_diagonal() -> tuple[np.ndarray, np.ndarray]:
    """Index pairs of different cepstra, each pair once."""
    return np.triu_indices(COEFFICIENTS, 1)
