"""The network on the spectrogram: a small convolutional one that sees a few tenths of a second at a time.

Its moments over time are pooled, as in functionals, so it learns traces of synthesis instead of sentences. The first
layer is fixed: filters that whiten patches of speech, and both signs of their output (Jordan, "94% on CIFAR-10 in
3.29 seconds", 2024). The other convolutions are trained with orthogonalised updates (Muon, Jordan et al., 2024).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from voiceguard.features import analyse
from voiceguard.features.spectrum import HOP_SAMPLES, WINDOW_SAMPLES, frame_mask, hann
from voiceguard.spectrogram import (
    BINS,
    FLOOR_DB,
    FRAMES_A_STEP,
    LOW_BIN,
    SPREAD,
    emphasis,
    hear_each,
)
from voiceguard.training.kept import save_state
from voiceguard.training.prepare import Version, prepared_window
from voiceguard.vad import FRAME_SAMPLES
from voiceguard.windows import SpeechWindow

PATCH = 4
"""Side of the patches that the first layer whitens, in bins and in frames."""
CHECKPOINT_STEPS = 250
VARIANCE_FLOOR = 1e-4


@dataclass(frozen=True)
class NetworkConfig:
    """What the network is trained with."""

    steps: int = 4000
    clips: int = 32
    """Clips in a batch."""
    views: int = 2
    """Channel versions of each."""
    frames: int = 256
    """How much is cut out of a clip: two seconds."""
    channels: tuple[int, int, int] = (32, 48, 48)
    wide: int = 96
    hidden: int = 64
    dropout: tuple[float, float] = (0.3, 0.3)
    learning_rate: float = 0.03
    """Of convolutions."""
    other_learning_rate: float = 2e-3
    """Of everything else, by AdamW."""
    weight_decay: float = 0.02
    warm_up: int = 50
    label_smoothing: float = 0.05
    masked_bins: tuple[int, int] = (3, 12)
    """Half of the spectrograms lose so many neighbouring bins."""


class Convolution(nn.Module):
    """A convolution whose filters are the rows of a matrix, as orthogonalised updates want them; norm and ReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: tuple[int, int], stride: tuple[int, int] = (1, 1)
    ) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.padding = (kernel[0] // 2, kernel[1] // 2)
        drawn = torch.randn(outputs, inputs * kernel[0] * kernel[1])
        # As large as the updates, relative to which the learning rate is: norm √outputs.
        self.weight = nn.Parameter(drawn * outputs**0.5 / drawn.norm())
        self.norm = nn.BatchNorm2d(outputs)

    def filters(self) -> Tensor:
        """Weights of shape (outputs, inputs, *kernel)."""
        return self.weight.view(len(self.weight), -1, *self.kernel)

    def forward(self, values: Tensor) -> Tensor:
        """Shape (n, inputs, bins, frames) -> (n, outputs, bins, frames)."""
        summed = functional.conv2d(values, self.filters(), stride=self.stride, padding=self.padding)
        return functional.relu(self.norm(summed), inplace=True)


class SpectrogramNetwork(nn.Module):
    """Logit of spectrograms, higher is more synthetic."""

    whitening: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        first, second, third = config.channels
        self.register_buffer("whitening", torch.zeros(2 * PATCH**2, 1, PATCH, PATCH))
        self.local = nn.Sequential(
            Convolution(2 * PATCH**2, first, (3, 3), (2, 2)),
            Convolution(first, second, (3, 3), (2, 1)),
            Convolution(second, third, (3, 3), (2, 1)),
        )
        self.across = Convolution(third * BINS // 16, config.wide, (1, 1))
        self.along = Convolution(config.wide, config.wide, (1, 3))
        self.head = nn.Sequential(
            nn.Dropout(config.dropout[0]),
            nn.Linear(4 * config.wide, config.hidden),
            nn.BatchNorm1d(config.hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout[1]),
            nn.Linear(config.hidden, 1),
        )

    def forward(self, spectrograms: Tensor, weights: Tensor) -> Tensor:
        """Shapes (n, bins, frames) and (n, steps), the weights of a row adding up to 1 -> (n,)."""
        with torch.no_grad():
            # Channels last: a step takes less time on a CPU.
            values = spectrograms[:, None].to(memory_format=torch.channels_last)
            both = functional.conv2d(values, self.whitening, stride=2, padding=1)
            both = functional.relu(both, inplace=True)
        values = self.local(both)
        values = self.across(values.reshape(len(values), -1, 1, values.shape[3]))
        values = torch.cat([values, self.along(values)], 1).squeeze(2)
        weights = weights[:, None]
        mean = (values * weights).sum(2)
        variance = ((values - mean[:, :, None]) ** 2 * weights).sum(2)
        return self.head(torch.cat([mean, (variance + VARIANCE_FLOOR).sqrt()], 1)).squeeze(1)

    def whiten(self, spectrograms: Tensor) -> None:
        """Set the first layer to the principal components of patches, each divided by its spread."""
        patches = functional.unfold(spectrograms[:, None], PATCH, stride=2)
        patches = patches.transpose(1, 2).reshape(-1, PATCH**2)
        values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
        filters = (vectors / (values + 1e-2).sqrt()).T
        self.whitening.copy_(torch.cat([filters, -filters]).reshape(self.whitening.shape))


class Versions:
    """Prepared versions of the corpus, read as the network's batches.

    Parameters
    ----------
    folder : Path
        The work folder; every version must have been prepared.
    versions : sequence of Version
    """

    def __init__(self, folder: Path, versions: Sequence[Version]) -> None:
        self._audio = [np.load(folder / f"audio-{version}.npy", mmap_mode="r") for version in versions]
        self._masks = [np.load(folder / f"mask-{version}.npy", mmap_mode="r") for version in versions]
        self.usable = np.stack([mask.any(axis=1) for mask in self._masks])
        """Which clips have speech in which version, shape (versions, clips), bool."""

    def crops(
        self, picks: Sequence[tuple[int, int]], frames: int, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Cut so many frames out of each (version, clip), at random.

        Returns samples of shape (n, samples), float32, and which frames are speech, shape (n, frames), float32.
        """
        length = WINDOW_SAMPLES + (frames - 1) * HOP_SAMPLES
        samples = np.zeros((len(picks), length), np.float32)
        speech = np.zeros((len(picks), frames), np.float32)
        for row, (version, clip) in enumerate(picks):
            window = prepared_window(self._audio[version][clip], self._masks[version][clip])
            assert window is not None
            spare = max(len(window.samples) - length, 0) // FRAME_SAMPLES
            start = int(rng.integers(0, spare + 1))
            found = window.samples[start * FRAME_SAMPLES :][:length]
            samples[row, : len(found)] = found
            speech[row] = frame_mask(window.speech[start:], frames) & (
                np.arange(frames) * HOP_SAMPLES + WINDOW_SAMPLES <= len(found)
            )
        return torch.from_numpy(samples), torch.from_numpy(speech)

    def score(
        self, model: SpectrogramNetwork, version: int, clips: np.ndarray, share: float = 1.0
    ) -> np.ndarray:
        """Logits of such a share of clips, shape (len(clips),), float64, NaN where one has too little speech."""
        windows = (prepared_window(self._audio[version][clip], self._masks[version][clip]) for clip in clips)
        return np.array(
            [np.nan if window is None else network_logit(model, window, share) for window in windows]
        )


@torch.inference_mode()
def network_logit(model: SpectrogramNetwork, window: SpeechWindow, share: float = 1.0) -> float:
    """Score such a share of one window, of any length."""
    (heard,) = hear_each(analyse([window]), share)
    spectrogram, weights = (torch.from_numpy(part)[None] for part in heard)
    return float(model(spectrogram, weights))


def spectrograms(samples: Tensor, speech: Tensor) -> tuple[Tensor, Tensor]:
    """Compute what :func:`voiceguard.spectrogram.hear` does, of many crops at once.

    Shapes (n, samples) and (n, frames) -> (n, BINS, frames) and (n, steps).
    """
    window = torch.from_numpy(hann(WINDOW_SAMPLES)).to(samples.device)
    spectrum = torch.stft(
        samples, WINDOW_SAMPLES, HOP_SAMPLES, window=window, center=False, return_complex=True
    )[:, LOW_BIN : LOW_BIN + BINS]
    power = spectrum.real**2 + spectrum.imag**2
    power *= torch.from_numpy(emphasis()).to(samples.device)[:, None]
    speech = torch.where(speech.any(dim=1, keepdim=True), speech, torch.ones_like(speech))
    shares = (speech / speech.sum(dim=1, keepdim=True))[:, None]
    floor = (power.mean(dim=1, keepdim=True) * shares).sum(dim=2, keepdim=True) * 10 ** (FLOOR_DB / 10)
    log = torch.log(power + (floor + 1e-12))
    log -= (log * shares).sum(dim=2, keepdim=True)
    steps = speech.reshape(len(speech), -1, FRAMES_A_STEP).mean(dim=2)
    return log / SPREAD, steps / steps.sum(dim=1, keepdim=True)


def fit_network(
    folder: Path,
    versions: Sequence[Version],
    train: np.ndarray,
    synthetic: np.ndarray,
    weights: np.ndarray,
    config: NetworkConfig,
    seed: int,
    kept: Path,
) -> SpectrogramNetwork:
    """Train the network, or go on from where an earlier run stopped.

    Parameters
    ----------
    folder : Path
        The work folder with the prepared versions.
    versions : sequence of Version
    train : np.ndarray [shape=(clips,), bool]
        Which clips train it.
    synthetic : np.ndarray [shape=(clips,), bool]
    weights : np.ndarray [shape=(clips,)]
        How far each clip counts in the loss.
    config : NetworkConfig
    seed : int
        Fixes initial weights, crops, order and dropout: every step draws from a generator of its own, so a run that
        was stopped ends where one that was not would have.
    kept : Path
        Where the weights go once trained; beside it lies the checkpoint until then, and the curve: mean loss between
        checkpoints, a line of JSON each.
    """
    if kept.exists():
        return load_network(kept, config)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(seed)
    model = SpectrogramNetwork(config)
    data = Versions(folder, versions)
    clips = np.flatnonzero(train & data.usable.any(axis=0))
    model.whiten(_batch(data, clips, config, seed, -1)[0])
    model.to(device)
    optimizers = _optimizers(model, config)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(one, functools.partial(_rate, config)) for one in optimizers
    ]
    checkpoint, done = kept.with_suffix(".checkpoint"), 0
    parts: dict[str, Any] = {"model": model, **{f"optimizer{at}": one for at, one in enumerate(optimizers)}}
    parts |= {f"schedule{at}": one for at, one in enumerate(schedules)}
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        done = state["done"]
        for name, part in parts.items():
            part.load_state_dict(state[name])
    targets = torch.from_numpy(synthetic.astype(np.float32))
    targets = targets * (1 - 2 * config.label_smoothing) + config.label_smoothing
    counts = torch.from_numpy(weights.astype(np.float32))
    model.train()
    losses: list[float] = []
    with kept.with_suffix(".jsonl").open("a") as curve:
        for step in range(done, config.steps):
            heard, steps, rows = _batch(data, clips, config, seed, step)
            torch.manual_seed(int(np.random.default_rng([seed, step, 1]).integers(2**62)))
            logits = model(heard.to(device), steps.to(device)).cpu()
            loss = functional.binary_cross_entropy_with_logits(logits, targets[rows], weight=counts[rows])
            model.zero_grad(set_to_none=True)
            loss.backward()
            for optimizer, schedule in zip(optimizers, schedules, strict=True):
                optimizer.step()
                schedule.step()
            losses.append(float(loss.detach()))
            if (step + 1) % CHECKPOINT_STEPS == 0:
                curve.write(json.dumps({"step": step + 1, "loss": round(float(np.mean(losses)), 4)}) + "\n")
                curve.flush()
                losses = []
                states = {name: part.state_dict() for name, part in parts.items()}
                save_state({"done": step + 1, **states}, checkpoint)
    save_state(model.cpu().state_dict(), kept)
    checkpoint.unlink(missing_ok=True)
    return model.eval()


def load_network(kept: Path, config: NetworkConfig) -> SpectrogramNetwork:
    """Read what :func:`fit_network` kept; ``config`` is that of its training."""
    model = SpectrogramNetwork(config)
    model.load_state_dict(torch.load(kept, weights_only=True))
    return model.eval()


def read_curve(kept: Path) -> list[float]:
    """Mean losses between checkpoints of the training that ended in these weights."""
    lines = kept.with_suffix(".jsonl").read_text().splitlines()
    # Later lines count: a run that was stopped between a checkpoint and its line writes that step again.
    return list({(one := json.loads(line))["step"]: one["loss"] for line in lines}.values())


def _batch(
    data: Versions, clips: np.ndarray, config: NetworkConfig, seed: int, step: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw a batch: spectrograms, weights of their steps, and which clip each is of."""
    rng = np.random.default_rng([seed, step + 1])
    rows = rng.choice(clips, min(config.clips, len(clips)), replace=False)
    views = min(config.views, len(data.usable))
    picks = [
        (int(version), int(row))
        for row in rows
        for version in _drawn(rng, np.flatnonzero(data.usable[:, row]), views)
    ]
    heard, steps = spectrograms(*data.crops(picks, config.frames, rng))
    for one in heard:
        if rng.random() < 0.5:
            first = int(rng.integers(0, BINS))
            one[first : first + int(rng.integers(*config.masked_bins))] = 0
    return heard, steps, torch.from_numpy(np.repeat(rows, views))


def _drawn(rng: np.random.Generator, of: np.ndarray, number: int) -> np.ndarray:
    """Draw so many, each once where there are enough."""
    return rng.choice(of, number, replace=len(of) < number)


def _optimizers(model: SpectrogramNetwork, config: NetworkConfig) -> list[torch.optim.Optimizer]:
    filters = [part.weight for part in model.modules() if isinstance(part, Convolution)]
    taken = {id(one) for one in filters}
    others = [one for one in model.parameters() if id(one) not in taken]
    return [
        torch.optim.Muon(filters, lr=config.learning_rate, weight_decay=0.0, momentum=0.9, ns_steps=4),
        torch.optim.AdamW(others, lr=config.other_learning_rate, weight_decay=config.weight_decay),
    ]


def _rate(config: NetworkConfig, step: int) -> float:
    """Share of the learning rate at a step: a short rise, then a straight line down to nothing."""
    return min(1.0, (step + 1) / config.warm_up) * (1 - step / config.steps)
