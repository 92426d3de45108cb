"""Statistics over time of tracks: arrays of shape (quantities, frames), of which only some frames count."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy.fft

MOMENTS = ("log_spread", "skewness", "kurtosis", "mean_absolute")
ORDERS = (1, 2)
"""Of differences: the third says hardly anything that these don't."""


class Block(NamedTuple):
    """Values of some families, shape (len(statistics), quantities), a family's quantities side by side."""

    family: str
    statistics: tuple[str, ...]
    values: np.ndarray
    groups: tuple[tuple[str, int], ...] = (("", 0),)
    """What stands before ``family`` for how many of the quantities; 0 for all of them."""

    def names(self) -> Iterable[str]:
        """Name each value, as ``family.quantity.statistic``."""
        quantities = self.values.size // len(self.statistics)
        for statistic in self.statistics:
            for group, count in self.groups:
                base, count = f"{group}{self.family}.{statistic}", count or quantities
                yield from (f"{base}.{index}" for index in range(count)) if count > 1 else (base,)


def moments(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Log standard deviation, skewness, kurtosis and mean absolute over standard deviation of each row.

    ``values`` has shape (quantities, frames); only frames of weight 1 count, the others have weight 0. Weights
    are of all quantities, shape (frames,), or of each of them, as the values. Kurtosis and skewness are
    compressed (log and signed square root): their tails are heavy. Returns shape (4, quantities).
    """
    return _standardised(_central_means(values, weights))


def _central_means(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Means of the second, third and fourth power and of the absolute value, less the mean; (4, quantities)."""
    share = np.float32(1) / np.maximum(weights.sum(axis=-1), 1)
    centred = values - (np.vecdot(values, weights) * share)[:, None]
    centred *= weights
    squares = centred * centred
    found = np.empty((len(MOMENTS), len(values)), np.float32)
    np.vecdot(centred, centred, out=found[0])
    np.vecdot(squares, centred, out=found[1])
    np.vecdot(squares, squares, out=found[2])
    np.vecdot(np.abs(centred, out=centred), weights, out=found[3])
    found *= share
    return found


def _standardised(means: np.ndarray) -> np.ndarray:
    """`MOMENTS` from :func:`_central_means`, of any number of such; both of shape (..., 4, quantities)."""
    second, third, fourth, absolute = np.moveaxis(means, -2, 0)
    variance = second + np.float32(1e-10)
    spread = np.sqrt(variance)
    skewness = third / (variance * spread)
    found = np.empty_like(means)
    found[..., 0, :] = np.log(spread)
    found[..., 1, :] = np.copysign(np.sqrt(np.abs(skewness)), skewness)
    found[..., 2, :] = np.log(np.maximum(fourth / (variance * variance), 1))
    found[..., 3, :] = absolute / spread
    return found


def dynamics(
    groups: Mapping[str, np.ndarray],
    weights: np.ndarray,
    steps: Sequence[int],
    lags: Sequence[int],
) -> Iterable[Block]:
    """Statistics of differences of several orders and steps, and autocorrelation.

    ``groups`` names tracks of shape (quantities, frames). They go through the statistics together: many small
    calls would cost more than the sums.
    """
    tracks, named = _side_by_side(groups)
    means = []
    for step in steps:
        difference = tracks
        for order in ORDERS:
            difference = difference[:, step:] - difference[:, :-step]
            lead = order * step // 2
            means.append(_central_means(difference, weights[lead : lead + difference.shape[1]]))
    found = _standardised(np.stack(means)).reshape(len(steps), len(ORDERS), len(MOMENTS), -1)
    for step, of_step in zip(steps, found, strict=True):
        for order, of_order in zip(ORDERS, of_step, strict=True):
            yield Block(f".d{order}x{step}", MOMENTS, of_order, named)
            if order > 1:
                yield Block(f".d{order}x{step}", ("relative_spread",), of_order[0] - of_step[0, 0], named)
    mean = np.vecdot(tracks, weights) / np.float32(weights.sum())
    centred = (tracks - mean[:, None]) * weights
    power = np.vecdot(centred, centred) + np.float32(1e-9)
    for lag in lags:
        correlation = np.vecdot(centred[:, lag:], centred[:, :-lag]) / power
        yield Block(".autocorrelation", (str(lag),), correlation, named)


def statics(groups: Mapping[str, np.ndarray]) -> Iterable[Block]:
    """Statistics of the tracks themselves, grouped as for :func:`dynamics`; their means are the channel's."""
    tracks, named = _side_by_side(groups)
    found = moments(tracks, np.ones(tracks.shape[1], np.float32))
    ordered = np.sort(tracks[:, ::2], axis=1)
    yield Block("", MOMENTS, found, named)
    low, middle, high = (_quantile(ordered, share) for share in (0.1, 0.5, 0.9))
    scale = np.exp(found[0])
    yield Block("", ("range",), (high - low) / scale, named)
    yield Block("", ("median",), (middle - tracks.mean(axis=1)) / scale, named)


def _side_by_side(groups: Mapping[str, np.ndarray]) -> tuple[np.ndarray, tuple[tuple[str, int], ...]]:
    return np.concatenate(list(groups.values())), tuple((name, len(of)) for name, of in groups.items())


def _quantile(ordered: np.ndarray, share: float) -> np.ndarray:
    """Quantile of each sorted row, interpolated linearly; (quantities, frames) -> (quantities,)."""
    index, rest = divmod(share * (ordered.shape[1] - 1), 1)
    low, high = ordered[:, int(index)], ordered[:, min(int(index) + 1, ordered.shape[1] - 1)]
    return low + np.float32(rest) * (high - low)


def modulation(family: str, centred: np.ndarray, edges_hz: Sequence[float], rate_hz: float) -> Block:
    """Log share of the power that tracks without mean, shape (quantities, frames), have in each range.

    ``rate_hz`` is that of the frames.
    """
    size = scipy.fft.next_fast_len(centred.shape[1], real=True)
    spectrum = scipy.fft.rfft(centred * _hanning(centred.shape[1]), size)
    power = spectrum.real**2 + spectrum.imag**2
    edges = modulation_edges(edges_hz, size, rate_hz)
    ranges = np.stack([power[:, low:high].sum(axis=1) for low, high in itertools.pairwise(edges)])
    shares = np.log(ranges / (power.sum(axis=1) + np.float32(1e-9)) + np.float32(1e-6))
    return Block(f"{family}.modulation", tuple(f"{low:g}hz" for low in edges_hz[:-1]), shares)


def modulation_edges(edges_hz: Sequence[float], size: int, rate_hz: float) -> np.ndarray:
    """First bins of ranges of modulation frequency, of a transform of ``size`` frames."""
    return np.ceil(np.array(edges_hz) * size / rate_hz).astype(int)


def without_mean(tracks: np.ndarray) -> np.ndarray:
    """Tracks, shape (quantities, frames), less their mean over all frames."""
    return np.asarray(tracks - tracks.mean(axis=1, keepdims=True))


def normalise(tracks: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Tracks, shape (quantities, frames), without their mean and of length 1, over frames of weight 1."""
    mean = np.vecdot(tracks, weights) / np.float32(max(weights.sum(), 1))
    centred = (tracks - mean[:, None]) * weights
    return np.asarray(centred / np.sqrt(np.vecdot(centred, centred) + np.float32(1e-9))[:, None])


def correlations(normal: np.ndarray) -> np.ndarray:
    """Correlation of each pair of tracks that :func:`normalise` made, each pair once; shape (pairs,)."""
    return np.asarray(np.vecdot(normal[:, None], normal[None])[pairs_above_diagonal(len(normal))])


@functools.cache
def pairs_above_diagonal(quantities: int) -> tuple[np.ndarray, np.ndarray]:
    """Index pairs of different quantities, each pair once."""
    return np.triu_indices(quantities, 1)


@functools.lru_cache(maxsize=64)
def _hanning(size: int) -> np.ndarray:
    return np.hanning(size).astype(np.float32)
