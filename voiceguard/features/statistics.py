"""Statistics over time of tracks: arrays of shape (quantities, frames), of which only some frames count.

The frames are those of several windows of speech, side by side: the ``bounds`` of `voiceguard.features.loops`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy.fft

from voiceguard.features import loops
from voiceguard.vad import hanning

MOMENTS = ("log_spread", "skewness", "kurtosis", "mean_absolute")
ORDERS = (1, 2)
"""Of differences: the third says hardly anything that these don't."""


class Block(NamedTuple):
    """Values of some families, shape (windows, len(statistics), quantities), a family's quantities side by side."""

    family: str
    statistics: tuple[str, ...]
    values: np.ndarray
    groups: tuple[tuple[str, int], ...] = (("", 0),)
    """What stands before ``family`` for how many of the quantities; 0 for all of them."""

    def names(self) -> Iterable[str]:
        """Name each value, as ``family.quantity.statistic``."""
        quantities = self.values[0].size // len(self.statistics)
        for statistic in self.statistics:
            for group, count in self.groups:
                base, count = f"{group}{self.family}.{statistic}", count or quantities
                yield from (f"{base}.{index}" for index in range(count)) if count > 1 else (base,)


def moments(values: np.ndarray, weights: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Log standard deviation, skewness, kurtosis and mean absolute over standard deviation of each row.

    ``values`` has shape (quantities, frames); only frames of weight 1 count, the others have weight 0. Weights
    are of all quantities, shape (frames,), or of each of them, as the values. Kurtosis and skewness are
    compressed (log and signed square root): their tails are heavy. Returns shape (windows, 4, quantities).
    """
    return loops.moments(np.ascontiguousarray(values, np.float32), np.atleast_2d(weights), bounds)


def dynamics(
    groups: Mapping[str, np.ndarray],
    weights: np.ndarray,
    bounds: np.ndarray,
    steps: Sequence[int],
    lags: Sequence[int],
) -> Iterable[Block]:
    """Statistics of differences of several orders and steps, and autocorrelation.

    ``groups`` names tracks of shape (quantities, frames). They go through the statistics together: many small
    calls would cost more than the sums.
    """
    tracks, named = _side_by_side(groups)
    found = loops.moments_of_differences(tracks, weights, bounds, np.array(steps))
    for index, step in enumerate(steps):
        for order in ORDERS:
            of_order = found[:, index, order - 1]
            yield Block(f".d{order}x{step}", MOMENTS, of_order, named)
            if order > 1:
                relative = of_order[:, :1] - found[:, index, 0, :1]
                yield Block(f".d{order}x{step}", ("relative_spread",), relative, named)
    alike = loops.autocorrelations(loops.centre(tracks, weights, bounds, False), bounds, np.array(lags))
    for index, lag in enumerate(lags):
        yield Block(".autocorrelation", (str(lag),), alike[:, index, None], named)


def statics(groups: Mapping[str, np.ndarray], bounds: np.ndarray) -> Iterable[Block]:
    """Statistics of the tracks themselves, grouped as for :func:`dynamics`; their means are the channel's."""
    tracks, named = _side_by_side(groups)
    found = moments(tracks, np.ones(tracks.shape[1], np.float32), bounds)
    yield Block("", MOMENTS, found, named)
    quantiles = np.array([_quantiles(of_window) for of_window in split(tracks, bounds)])
    scale = np.exp(found[:, :1])
    low, middle, high, mean = (quantiles[:, index, None] for index in range(4))
    yield Block("", ("range",), (high - low) / scale, named)
    yield Block("", ("median",), (middle - mean) / scale, named)


def _quantiles(tracks: np.ndarray) -> np.ndarray:
    """Quantiles at 10, 50 and 90 %, of every other frame, and the mean, of each row; shape (4, quantities)."""
    ordered = np.sort(tracks[:, ::2], axis=1)
    return np.stack([*(_quantile(ordered, share) for share in (0.1, 0.5, 0.9)), tracks.mean(axis=1)])


def _side_by_side(groups: Mapping[str, np.ndarray]) -> tuple[np.ndarray, tuple[tuple[str, int], ...]]:
    return np.concatenate(list(groups.values())), tuple((name, len(of)) for name, of in groups.items())


def _quantile(ordered: np.ndarray, share: float) -> np.ndarray:
    """Quantile of each sorted row, interpolated linearly; (quantities, frames) -> (quantities,)."""
    index, rest = divmod(share * (ordered.shape[1] - 1), 1)
    low, high = ordered[:, int(index)], ordered[:, min(int(index) + 1, ordered.shape[1] - 1)]
    return low + np.float32(rest) * (high - low)


def modulation(
    family: str, centred: np.ndarray, bounds: np.ndarray, edges_hz: Sequence[float], rate_hz: float
) -> Block:
    """Log share of the power that tracks without mean, shape (quantities, frames), have in each range.

    ``rate_hz`` is that of the frames.
    """
    shares = []
    for tracks in split(centred, bounds):
        size = scipy.fft.next_fast_len(tracks.shape[1], real=True)
        spectrum = scipy.fft.rfft(tracks * hanning(tracks.shape[1]), size)
        shares.append(loops.shares_of_power(spectrum, modulation_edges(edges_hz, size, rate_hz)))
    values = np.log(np.array(shares))
    return Block(f"{family}.modulation", tuple(f"{low:g}hz" for low in edges_hz[:-1]), values)


def modulation_edges(edges_hz: Sequence[float], size: int, rate_hz: float) -> np.ndarray:
    """First bins of ranges of modulation frequency, of a transform of ``size`` frames."""
    return np.ceil(np.array(edges_hz) * size / rate_hz).astype(int)


def split(tracks: np.ndarray, bounds: np.ndarray) -> Iterable[np.ndarray]:
    """Tracks of each window, shape (quantities, frames of that window)."""
    return (tracks[:, start:end] for start, end in itertools.pairwise(bounds.tolist()))


def sums(values: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Sum over the frames of each window; (..., frames) -> (..., windows)."""
    return np.asarray(np.add.reduceat(values, bounds[:-1], axis=-1))


def each_frame(of_window: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Repeat what each window has for each of its frames; (..., windows) -> (..., frames)."""
    return np.repeat(of_window, np.diff(bounds), axis=-1)


def bounds_among(chosen: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Bounds of the windows among the frames that are chosen, a mask of shape (frames,)."""
    return np.append(0, np.cumsum(sums(chosen.astype(np.int64), bounds)))


def within(bounds: np.ndarray, margin: int) -> np.ndarray:
    """Mask of the frames, shape (frames,), that are so many away from either end of their window."""
    inside = np.ones(bounds[-1], dtype=bool)
    for off in range(margin):
        inside[bounds[:-1] + off] = inside[bounds[1:] - 1 - off] = False
    return inside


def differences(tracks: np.ndarray, order: int) -> np.ndarray:
    """First or second differences over two frames, each at the frame in its middle; as many frames as before.

    Only where :func:`within` a margin of ``order`` do they mean anything.
    """
    found = np.zeros_like(tracks)
    if order == 1:
        np.subtract(tracks[:, 2:], tracks[:, :-2], out=found[:, 1:-1])
    else:
        found[:, 2:-2] = tracks[:, 4:] - 2 * tracks[:, 2:-2] + tracks[:, :-4]
    return found


def without_mean(tracks: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Tracks, shape (quantities, frames), less their mean over all frames of the window."""
    return loops.centre(np.ascontiguousarray(tracks), np.ones(tracks.shape[1], np.float32), bounds, False)


def normalise(tracks: np.ndarray, weights: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Tracks, shape (quantities, frames), without their mean and of length 1, over frames of weight 1."""
    return loops.centre(np.ascontiguousarray(tracks), weights, bounds, True)


def correlations(normal: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Correlation of each pair of tracks that :func:`normalise` made, each pair once; shape (windows, pairs)."""
    return loops.products_of_pairs(normal, bounds)
