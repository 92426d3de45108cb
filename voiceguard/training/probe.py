"""Probes: what the detector must not live on, and what it must not mind.

Trivial cues (level, silence, bandwidth, codec, duration) must not tell the classes apart, nor must the detector's
skill go when they are taken out of its score. The same clip through ten channels must score alike.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.fft
from rich.progress import track
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression

from voiceguard.audio import RATE_HZ
from voiceguard.features import extract, features_sha256
from voiceguard.training import metrics
from voiceguard.training.corpus import Corpus, clip_weights, read_samples
from voiceguard.training.crossfold import (
    CHANNELS,
    CrossFold,
    Recipe,
    load_versions,
    score_ensemble,
    training_mask,
)
from voiceguard.training.mlp import Mlp, fit_mlp
from voiceguard.training.network import SpectrogramNetwork, network_logit
from voiceguard.training.prepare import clip_window, version_channel
from voiceguard.vad import MIN_SCORED_S

SPREAD_FOLD = 0
SPREAD_CLIPS = 200
SPREAD_CHANNELS = 10
_SPREAD_VERSION = 1000
"""First of the versions whose channels the spread is measured on; training never reaches it."""


@dataclass(frozen=True)
class TrivialCues:
    """What cues tell that have nothing to do with a voice; plain phone, wild pages, areas within pages."""

    detector: float
    """Area of the detector."""
    cues: float
    """Area of a classifier on trivial cues alone, trained on the other folds."""
    without_cues: float
    """Area of the detector's score after what the cues predict of it, on the other folds, is subtracted."""


@dataclass(frozen=True)
class Spread:
    """How far one clip's score moves over channels, as a standard deviation."""

    of_clips: float
    """Over the standard deviation of all clips' mean scores."""
    nats: float
    """In natural-log likelihood ratios, as verdicts are: calibrated on other clips, heard as in training."""


@dataclass(frozen=True)
class ChannelSpread:
    """How far one clip's score moves over channels, of two detectors."""

    clips: int
    channels: int
    shipped_recipe: Spread
    functional: Spread
    """The networks on features alone."""
    clean_trained: Spread
    """These trained, and calibrated, on clips without any channel."""


def probe_trivial_cues(corpus: Corpus, result: CrossFold, folder: Path) -> TrivialCues:
    """Ask how far level, silence, bandwidth, codec and duration explain the labels and the detector's scores."""
    version = CHANNELS["plain"]
    cues = trivial_cues(folder, version)
    score, synthetic = result.scores["plain"], corpus.column("synthetic")
    folds, pages = corpus.column("fold"), corpus.column("page")
    usable = np.isfinite(score)
    weights = clip_weights(corpus)
    alone, explained = np.full(len(score), np.nan), np.full(len(score), np.nan)
    for fold in np.unique(folds):
        train, test = training_mask(corpus, int(fold)) & usable, (folds == fold) & usable
        classifier = HistGradientBoostingClassifier(max_iter=150, learning_rate=0.05, random_state=0)
        classifier.fit(cues[train], synthetic[train], sample_weight=weights[train])
        alone[test] = classifier.predict_proba(cues[test])[:, 1]
        regressor = HistGradientBoostingRegressor(max_iter=150, learning_rate=0.05, random_state=0)
        regressor.fit(cues[train], score[train], sample_weight=weights[train])
        explained[test] = regressor.predict(cues[test])
    wild = usable & (corpus.column("source") == "wild")

    def within(values: np.ndarray) -> float:
        return metrics.area_within(values[wild], synthetic[wild], pages[wild])

    return TrivialCues(within(score), within(alone), within(score - explained))


def trivial_cues(folder: Path, version: int) -> np.ndarray:
    """Measure each clip of a prepared version: shape (clips, cues), NaN where it has too little speech.

    Columns: seconds of speech, level, peak over level, share of digital zeros, mean, upper and lower edge of the
    band, share of clipped samples, codec, its bit rate, packet loss.
    """
    audio = np.load(folder / f"audio-{version}.npy", mmap_mode="r")
    seconds = np.load(folder / f"speech-{version}.npy")
    channels = json.loads((folder / f"channels-{version}.json").read_text())
    codecs = [channel["codecs"][0] if channel["codecs"] else {} for channel in channels]
    names = sorted({codec.get("codec", "") for codec in codecs})
    rows = np.full((len(audio), 11), np.nan)
    for row, (samples, codec) in enumerate(zip(audio, codecs, strict=True)):
        used = np.flatnonzero(samples)
        if seconds[row] < MIN_SCORED_S or not len(used):
            continue
        heard = samples[: used[-1] + 1].astype(np.float32) / 32768
        level = np.sqrt(np.mean(heard**2))
        power = np.abs(scipy.fft.rfft(heard)) ** 2
        share = np.cumsum(power) / power.sum()
        low, high = (np.searchsorted(share, edge) * RATE_HZ / len(heard) for edge in (0.005, 0.995))
        peak = np.abs(heard).max()
        rows[row] = (
            seconds[row],
            20 * np.log10(level),
            20 * np.log10(peak / level),
            np.mean(heard == 0),
            heard.mean(),
            high,
            low,
            np.mean(np.abs(heard) >= 0.999 * peak),
            names.index(codec.get("codec", "")),
            codec.get("bit_rate") or 0,
            channels[row]["packet_loss"],
        )
    return rows


def probe_spread(
    corpus: Corpus,
    folder: Path,
    versions: list[int],
    recipe: Recipe,
    network: SpectrogramNetwork,
    logits: Mapping[str, np.ndarray],
    seed: int = 0,
) -> ChannelSpread:
    """Score clips of one fold through ten channels each, plain and mild, by networks that never heard them.

    ``network`` is the one on the spectrogram that is tested on this fold, and ``logits`` what it says of the clips.
    """
    train, weight = training_mask(corpus, SPREAD_FOLD), recipe.hearing.weight
    synthetic, weights = corpus.column("synthetic"), clip_weights(corpus)
    through, clean = load_versions(folder, versions), [_clean_features(corpus, folder)]
    recipe_models, clean_models = (
        [
            fit_mlp(
                [version[train] for version in heard],
                synthetic[train],
                weights[train],
                recipe.perceptron,
                member.seed,
                member.columns,
            )
            for member in recipe.members
        ]
        for heard in (through, clean)
    )
    wild = np.flatnonzero((corpus.column("fold") == SPREAD_FOLD) & (corpus.column("source") == "wild"))
    chosen, others = np.split(np.random.default_rng(seed).permutation(wild), [SPREAD_CLIPS])
    features, added = [], []
    for row in track(chosen, "ten channels"):
        clip = corpus.clips[row]
        windows = [
            window
            for version in _spread_versions()
            if (window := clip_window(version_channel(clip, version, seed).apply(read_samples(clip)))[0])
        ]
        if len(windows) == SPREAD_CHANNELS:
            features.append(extract(windows))
            added.append([weight * network_logit(network, window) for window in windows])
    stacked = np.stack(features).astype(np.float16)
    flat = stacked.reshape(-1, stacked.shape[2])
    heard = {name: through[versions.index(version)][others] for name, version in CHANNELS.items()}
    fused = [
        score_ensemble(recipe_models, rows) + weight * logits[name][others] for name, rows in heard.items()
    ]

    def spread(by_clip: np.ndarray, raw: Sequence[np.ndarray]) -> Spread:
        within = float(np.sqrt((by_clip.std(axis=1, ddof=1) ** 2).mean()))
        slope = _slope(
            np.concatenate(raw), np.tile(synthetic[others], len(raw)), np.tile(weights[others], len(raw))
        )
        return Spread(within / by_clip.mean(axis=1).std(ddof=1), within * slope)

    def of_features(models: Sequence[Mlp], rows: Sequence[np.ndarray]) -> Spread:
        by_clip = score_ensemble(models, flat).reshape(stacked.shape[:2])
        return spread(by_clip, [score_ensemble(models, one) for one in rows])

    return ChannelSpread(
        clips=len(stacked),
        channels=SPREAD_CHANNELS,
        shipped_recipe=spread(
            score_ensemble(recipe_models, flat).reshape(stacked.shape[:2]) + np.array(added), fused
        ),
        functional=of_features(recipe_models, [version[others] for version in through]),
        clean_trained=of_features(clean_models, [version[others] for version in clean]),
    )


def _slope(raw: np.ndarray, synthetic: np.ndarray, weights: np.ndarray) -> float:
    """Fit how many nats a raw score counts, by weighted logistic regression."""
    usable = np.isfinite(raw)
    fitted = LogisticRegression(C=np.inf).fit(raw[usable, None], synthetic[usable], weights[usable])
    return float(fitted.coef_[0, 0])


def _spread_versions() -> list[int]:
    """Ten channels in turn: plain and mild (hard ones lose speech, which is no fault of the detector)."""
    cycle = [version for version in range(_SPREAD_VERSION, _SPREAD_VERSION + 30) if version % 3 != 2]
    return cycle[:SPREAD_CHANNELS]


def _clean_features(corpus: Corpus, folder: Path) -> np.ndarray:
    """Features of all clips without a channel, kept in the work folder."""
    kept = folder / f"features-{features_sha256()[:8]}-clean.npy"
    if not kept.exists():
        found = [_features(read_samples(clip)) for clip in track(corpus.clips, "clean clips")]
        width = len(next(one for one in found if one is not None))
        rows = np.stack([np.full(width, np.nan) if one is None else one for one in found])
        np.save(kept, rows.astype(np.float16))
    return np.asarray(np.load(kept))


def _features(samples: np.ndarray) -> np.ndarray | None:
    window, _ = clip_window(samples)
    return None if window is None else extract([window])[0]
