"""The functional branch: a small multilayer perceptron on standardised features.

Each member of the ensemble sees, epoch by epoch, one random channel version of every clip, so that the
channel is never a cue, and as many epochs as there are versions cost no more than one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class MlpConfig:
    """What one member is trained with."""

    hidden: tuple[int, ...] = (256, 64)
    epochs: int = 14
    """Passes over the clips, each with one channel version a clip."""
    batch: int = 256
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

    def __init__(self, mean: np.ndarray, scale: np.ndarray, config: MlpConfig) -> None:
        super().__init__()
        self.config = config
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
        return self.layers(standardised).squeeze(1)


def fit_mlp(
    versions: Sequence[np.ndarray],
    synthetic: np.ndarray,
    weights: np.ndarray,
    config: MlpConfig,
    seed: int,
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
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    usable = np.stack([np.isfinite(version[:, 0]) for version in versions])
    sample = np.concatenate([version[mask][::2] for version, mask in zip(versions, usable, strict=True)])
    mean = np.asarray(np.mean(sample, axis=0, dtype=np.float64))
    spread = np.std(sample.astype(np.float32), axis=0, dtype=np.float64)
    model = Mlp(mean, 1 / np.maximum(spread, 1e-3), config)
    tensors = [torch.from_numpy(version) for version in versions]
    targets = torch.from_numpy(synthetic.astype(np.float32))
    smooth = targets * (1 - 2 * config.label_smoothing) + config.label_smoothing
    clip_weights = torch.from_numpy(weights.astype(np.float32))
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    clips = np.flatnonzero(usable.any(axis=0))
    steps = config.epochs * (len(clips) // config.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, steps)
    model.train()
    for _ in range(config.epochs):
        order = rng.permutation(clips)
        chosen = rng.integers(len(versions), size=len(order))
        chosen = np.where(usable[chosen, order], chosen, usable[:, order].argmax(axis=0))
        for start in range(0, len(order) - config.batch + 1, config.batch):
            rows, picks = order[start : start + config.batch], chosen[start : start + config.batch]
            batch = torch.stack([tensors[pick][row] for row, pick in zip(rows, picks, strict=True)]).float()
            index = torch.from_numpy(rows)
            loss = nn.functional.binary_cross_entropy_with_logits(
                model.classify(model.standardise(batch)), smooth[index], weight=clip_weights[index]
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            schedule.step()
    return model.eval()


@torch.no_grad()
def score_mlp(model: Mlp, features: np.ndarray) -> np.ndarray:
    """Logits of feature rows, shape (clips, features) -> (clips,), NaN where the row is."""
    logits = model(torch.from_numpy(np.nan_to_num(features)).float()).numpy()
    return np.where(np.isfinite(features[:, 0]), logits, np.nan)
