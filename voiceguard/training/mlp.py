"""The functional branch: a small multilayer perceptron on standardised features.

Each member of the ensemble sees, epoch by epoch, random channel versions of every clip, so that the channel is
never a cue. Features that move when only the channel does count less: nuisance attributes are weighed down as
in within-class covariance normalisation (Hatch, Kajarekar and Stolcke, Interspeech 2006), feature by feature.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from voiceguard.training.kept import save_state

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


_COLUMNS_AT_ONCE = 1024
"""Features that are scaled together: all of them, through many channels, would take gigabytes."""


@dataclass(frozen=True)
class MlpConfig:
    """What one member is trained with."""

    hidden: tuple[int, ...] = (256, 64)
    epochs: int = 14
    """Passes over the clips."""
    views: int = 2
    """Channel versions of each clip in a batch."""
    batch: int = 256
    """Clips in a batch."""
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    input_dropout: float = 0.3
    dropout: tuple[float, ...] = (0.5, 0.3)
    label_smoothing: float = 0.05
    clip: float = 4.0
    """Standardised features are cut to ± this."""


class Mlp(nn.Module):
    """Standardise, cut, classify; shape (n, features) -> (n,) logits, higher is more synthetic."""

    mean: torch.Tensor
    scale: torch.Tensor
    gain: torch.Tensor

    def __init__(self, mean: np.ndarray, scale: np.ndarray, gain: np.ndarray, config: MlpConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("gain", torch.from_numpy(gain.astype(np.float32)))
        self.register_buffer("mean", torch.from_numpy(mean.astype(np.float32)))
        self.register_buffer("scale", torch.from_numpy(scale.astype(np.float32)))
        layers: list[nn.Module] = [nn.Dropout(config.input_dropout)]
        width = len(mean)
        for hidden, dropout in zip(config.hidden, config.dropout, strict=True):
            layers += [nn.Linear(width, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(dropout)]
            width = hidden
        self.layers = nn.Sequential(*layers, nn.Linear(width, 1))

    def standardise(self, features: torch.Tensor) -> torch.Tensor:
        """Bring features to zero mean and unit variance over the training clips, cut to ± ``clip``."""
        return ((features - self.mean) * self.scale).clamp(-self.config.clip, self.config.clip)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits of raw feature rows."""
        return self.classify(self.standardise(features))

    def classify(self, standardised: torch.Tensor) -> torch.Tensor:
        """Logits of standardised feature rows."""
        return self.layers(standardised * self.gain).squeeze(1)


def fit_mlp(
    versions: Sequence[np.ndarray],
    synthetic: np.ndarray,
    weights: np.ndarray,
    config: MlpConfig,
    seed: int,
    columns: int | None = None,
) -> Mlp:
    """Train one member.

    Parameters
    ----------
    versions : sequence of np.ndarray [shape=(clips, features), float16]
        Features of the training clips through several channels; rows of NaN are left out.
    synthetic : np.ndarray [shape=(clips,), bool]
    weights : np.ndarray [shape=(clips,)]
    config : MlpConfig
    seed : int
        Fixes initial weights, order and dropout.
    columns : int, optional
        Only so many of the first features are looked at.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    width = versions[0].shape[1] if columns is None else columns
    usable = np.stack([np.isfinite(version[:, 0]) for version in versions])
    model = Mlp(*_scaling([version[:, :width] for version in versions], usable, config.clip), config)
    tensors = [torch.from_numpy(version) for version in versions]
    targets = torch.from_numpy(synthetic.astype(np.float32))
    smooth = targets * (1 - 2 * config.label_smoothing) + config.label_smoothing
    clip_weights = torch.from_numpy(weights.astype(np.float32))
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    clips = np.flatnonzero(usable.any(axis=0))
    views = min(config.views, len(versions))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, config.epochs * (len(clips) // config.batch)
    )
    model.train()
    for _ in range(config.epochs):
        order = rng.permutation(clips)
        chosen = rng.permuted(np.tile(np.arange(len(versions)), (len(order), 1)), axis=1)[:, :views].T
        chosen = np.where(usable[chosen, order], chosen, usable[:, order].argmax(axis=0))
        for start in range(0, len(order) - config.batch + 1, config.batch):
            rows, picks = order[start : start + config.batch], chosen[:, start : start + config.batch]
            batch = torch.stack(
                [tensors[pick][row, :width] for view in picks for row, pick in zip(rows, view, strict=True)]
            ).float()
            index = torch.from_numpy(np.tile(rows, views))
            loss = nn.functional.binary_cross_entropy_with_logits(
                model.classify(model.standardise(batch)), smooth[index], weight=clip_weights[index]
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            schedule.step()
    return model.eval()


def _scaling(
    versions: Sequence[np.ndarray], usable: np.ndarray, clip: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, inverse spread and gain of each feature, each of shape (features,).

    The gain is the square root of the share of a feature's variance that is not the channel's, 1 in the mean.
    """
    parts = [
        _scaling_of([version[:, start : start + _COLUMNS_AT_ONCE] for version in versions], usable, clip)
        for start in range(0, versions[0].shape[1], _COLUMNS_AT_ONCE)
    ]
    mean, scale, kept = (np.concatenate(part) for part in zip(*parts, strict=True))
    return mean, scale, np.sqrt(kept / kept.mean())


def _scaling_of(
    versions: Sequence[np.ndarray], usable: np.ndarray, clip: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, inverse spread, and share of the variance that is not the channel's."""
    sample = np.concatenate([version[mask][::2] for version, mask in zip(versions, usable, strict=True)])
    mean = np.asarray(np.mean(sample, axis=0, dtype=np.float64))
    scale = 1 / np.maximum(np.std(sample.astype(np.float32), axis=0, dtype=np.float64), 1e-3)
    if len(versions) == 1:
        return mean, scale, np.ones(len(mean))
    whole = np.flatnonzero(usable.all(axis=0))[::2]
    through = np.stack([version[whole] for version in versions]).astype(np.float32)
    through = np.clip((through - mean.astype(np.float32)) * scale.astype(np.float32), -clip, clip)
    share = through.var(axis=0, ddof=1).mean(axis=0) / through.reshape(-1, len(mean)).var(axis=0)
    return mean, scale, np.clip(1 - share, 0.02, 1)


def save_mlp(model: Mlp, path: Path) -> None:
    """Keep a network's weights."""
    save_state(model.state_dict(), path)


def load_mlp(path: Path, config: MlpConfig) -> Mlp:
    """Read what :func:`save_mlp` kept; ``config`` is that of its training."""
    state = torch.load(path, weights_only=True)
    model = Mlp(state["mean"].numpy(), state["scale"].numpy(), state["gain"].numpy(), config)
    model.load_state_dict(state)
    return model.eval()


@torch.no_grad()
def score_mlp(model: Mlp, features: np.ndarray) -> np.ndarray:
    """Logits of feature rows, shape (clips, features) -> (clips,), NaN where the row is.

    Columns beyond those that the model was trained on are left out.
    """
    seen = features[:, : len(model.mean)]
    logits = model(torch.from_numpy(np.nan_to_num(seen)).float()).numpy()
    return np.where(np.isfinite(features[:, 0]), logits, np.nan)
