"""Statistics over time of tracks of many windows at once: as :mod:`voiceguard.features.statistics` for one.

Tracks have shape (windows, quantities, frames), weights and masks (windows, frames), counts (windows,).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from voiceguard.features import statistics


def within(counts: Tensor, length: int) -> Tensor:
    """Mask of the first ``counts`` places of each row, shape (windows, length)."""
    return torch.arange(length, device=counts.device) < counts[:, None]


def cut(weights: Tensor, lead: int, values: Tensor, lengths: Tensor) -> Tensor:
    """Weights of ``values`` that begin ``lead`` frames in and are ``lengths`` long; else 0."""
    length = values.shape[-1]
    return weights[:, lead : lead + length] * within(lengths, length)


def moments(values: Tensor, weights: Tensor) -> Tensor:
    """As :func:`voiceguard.features.statistics.moments`: (windows, 4, quantities)."""
    weights = weights[:, None]
    share = 1 / weights.sum(2).clamp(min=1)
    centred = (values - ((values * weights).sum(2) * share)[..., None]) * weights
    squares = centred * centred
    variance = squares.sum(2) * share + 1e-10
    spread = torch.sqrt(variance)
    skewness = (squares * centred).sum(2) * share / (variance * spread)
    kurtosis = (squares * squares).sum(2) * share / (variance * variance)
    return torch.stack(
        [
            torch.log(spread),
            torch.copysign(torch.sqrt(skewness.abs()), skewness),
            torch.log(kurtosis.clamp(min=1)),
            centred.abs().sum(2) * share / spread,
        ],
        dim=1,
    )


def dynamics(
    tracks: Tensor,
    weights: Tensor,
    frames: Tensor,
    steps: Sequence[int],
    lags: Sequence[int],
) -> list[Tensor]:
    """As :func:`voiceguard.features.statistics.dynamics`: blocks of shape (windows, statistics, quantities)."""
    blocks = []
    first_spread = tracks[:, :1, 0]
    for step in steps:
        difference = tracks
        for order in statistics.ORDERS:
            difference = difference[..., step:] - difference[..., :-step]
            found = moments(difference, cut(weights, order * step // 2, difference, frames - order * step))
            blocks.append(found)
            if order == 1:
                first_spread = found[:, :1]
            else:
                blocks.append(found[:, :1] - first_spread)
    mean = (tracks * weights[:, None]).sum(2) / weights.sum(1)[:, None]
    centred = (tracks - mean[..., None]) * weights[:, None]
    power = (centred * centred).sum(2) + 1e-9
    for lag in lags:
        blocks.append(((centred[..., lag:] * centred[..., :-lag]).sum(2) / power)[:, None])
    return blocks


def statics(tracks: Tensor, speech: Tensor) -> Iterator[Tensor]:
    """As :func:`voiceguard.features.statistics.statics`, of a batch, over frames of speech."""
    weights = speech.float()
    found = moments(tracks, weights)
    yield found
    # Every second speech frame, as there.
    chosen = speech & (speech.cumsum(1) % 2 == 1)
    ordered = tracks.masked_fill(~chosen[:, None], torch.inf).sort(2).values
    counts = chosen.sum(1)
    low, middle, high = (_quantile(ordered, counts, share) for share in (0.1, 0.5, 0.9))
    scale = torch.exp(found[:, 0])
    yield (high - low) / scale
    mean = (tracks * weights[:, None]).sum(2) / weights.sum(1)[:, None]
    yield (middle - mean) / scale


def _quantile(ordered: Tensor, counts: Tensor, share: float) -> Tensor:
    place = share * (counts.double() - 1)
    index = place.floor().long()
    rest = (place - index).float()[:, None]
    low, high = (
        torch.gather(ordered, 2, at[:, None, None].expand(-1, ordered.shape[1], 1)).squeeze(2)
        for at in (index, torch.minimum(index + 1, counts - 1))
    )
    return low + rest * (high - low)


def normalise(tracks: Tensor, weights: Tensor) -> Tensor:
    """As :func:`voiceguard.features.statistics.normalise`, of a batch."""
    weights = weights[:, None]
    mean = (tracks * weights).sum(2) / weights.sum(2).clamp(min=1)
    centred = (tracks - mean[..., None]) * weights
    return centred / torch.sqrt((centred * centred).sum(2) + 1e-9)[..., None]


def correlations(normal: Tensor) -> Tensor:
    """As :func:`voiceguard.features.statistics.correlations`, of a batch."""
    rows, columns = torch.triu_indices(normal.shape[1], normal.shape[1], 1)
    return (normal @ normal.transpose(1, 2))[:, rows, columns]


def to_the_front(tracks: Tensor, speech: Tensor) -> tuple[Tensor, Tensor]:
    """Move speech frames to the front, in their order, without their mean; zeros behind. And count them."""
    counts = speech.sum(1)
    order = torch.argsort((~speech).to(torch.uint8), dim=1, stable=True)
    chosen = torch.gather(tracks, 2, order[:, None].expand_as(tracks))
    front = within(counts, tracks.shape[2]).float()[:, None]
    return (chosen - (chosen * front).sum(2, keepdim=True) / counts[:, None, None]) * front, counts
