"""Statistics over time of tracks: arrays of shape (quantities, frames), of which only some frames count."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy.fft

from voiceguard.features import loops

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
    return loops.moments(np.ascontiguousarray(values, np.float32), np.atleast_2d(weights))


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
    found = loops.moments_of_differences(tracks, weights, np.array(steps))
    for step, of_step in zip(steps, found, strict=True):
        for order, of_order in zip(ORDERS, of_step, strict=True):
            yield Block(f".d{order}x{step}", MOMENTS, of_order, named)
            if order > 1:
                yield Block(f".d{order}x{step}", ("relative_spread",), of_order[0] - of_step[0, 0], named)
    alike = loops.autocorrelations(loops.centre(tracks, weights, False), np.array(lags))
    for lag, correlation in zip(lags, alike, strict=True):
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
    shares = loops.shares_of_power(spectrum, modulation_edges(edges_hz, size, rate_hz))
    return Block(f"{family}.modulation", tuple(f"{low:g}hz" for low in edges_hz[:-1]), np.log(shares))


def modulation_edges(edges_hz: Sequence[float], size: int, rate_hz: float) -> np.ndarray:
    """First bins of ranges of modulation frequency, of a transform of ``size`` frames."""
    return np.ceil(np.array(edges_hz) * size / rate_hz).astype(int)


def without_mean(tracks: np.ndarray) -> np.ndarray:
    """Tracks, shape (quantities, frames), less their mean over all frames."""
    return np.asarray(tracks - tracks.mean(axis=1, keepdims=True))


def normalise(tracks: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Tracks, shape (quantities, frames), without their mean and of length 1, over frames of weight 1."""
    return loops.centre(np.ascontiguousarray(tracks), weights, True)


def correlations(normal: np.ndarray) -> np.ndarray:
    """Correlation of each pair of tracks that :func:`normalise` made, each pair once; shape (pairs,)."""
    return loops.products_of_pairs(normal)


@functools.lru_cache(maxsize=64)
def _hanning(size: int) -> np.ndarray:
    return np.hanning(size).astype(np.float32)
