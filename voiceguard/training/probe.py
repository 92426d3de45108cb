"""Probes: what the detector must not live on, and what it must not mind.

Trivial cues (level, silence, bandwidth, codec, duration) must not tell the classes apart, nor must the detector's
skill go when they are taken out of its score. The same clip through ten channels must score alike.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.fft
from rich.progress import track
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression

from voiceguard.audio import RATE_HZ
from voiceguard.features import extract
from voiceguard.training import metrics
from voiceguard.training.corpus import Corpus, clip_weights, read_samples
from voiceguard.training.crossfold import (
    CHANNELS,
    CrossFold,
    Recipe,
    fit_members,
    load_versions,
    network_path,
    score_ensemble,
    training_mask,
)
from voiceguard.training.mlp import Mlp
from voiceguard.training.network import (
    NetworkConfig,
    SpectrogramNetwork,
    Versions,
    fit_network,
    network_logit,
)
from voiceguard.training.prepare import Version, clip_window, version_channel
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
class Spreads:
    """Of a detector and of its parts."""

    detector: Spread
    perceptrons: Spread
    """The networks on features alone."""
    network: Spread
    """The one on the spectrogram alone."""


@dataclass(frozen=True)
class ChannelSpread:
    """How far one clip's score moves over channels: of this recipe, and of the same trained on clean clips."""

    clips: int
    channels: int
    recipe: Spreads
    clean: Spreads


@dataclass(frozen=True)
class _Trained:
    """What was trained on some versions of the clips."""

    perceptrons: Sequence[Mlp]
    network: SpectrogramNetwork
    heard: Sequence[tuple[np.ndarray, np.ndarray]]
    """What they say of other clips of the tested fold, as these were heard in training: of the perceptrons and of the
    network, each of shape (clips,), once for each channel."""


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
    versions: Sequence[Version],
    recipe: Recipe,
    config: NetworkConfig,
    seed: int = 0,
) -> ChannelSpread:
    """Score clips of one fold through ten channels each, plain and mild, by networks that never heard them.

    The version ``clean`` must be prepared too.
    """
    wild = np.flatnonzero((corpus.column("fold") == SPREAD_FOLD) & (corpus.column("source") == "wild"))
    clips = min(SPREAD_CLIPS, len(wild) // 2)
    chosen, others = np.split(np.random.default_rng(seed).permutation(wild), [clips])
    reported: list[Version] = list(CHANNELS.values())
    clean: list[Version] = ["clean"]
    trained = [
        _train(corpus, folder, on, heard, others, recipe, config, seed)
        for on, heard in ((versions, reported), (clean, clean))
    ]
    features, said = [], []
    for row in track(chosen, "ten channels"):
        clip = corpus.clips[row]
        windows = [
            window
            for version in _spread_versions()
            if (window := clip_window(version_channel(clip, version, seed).apply(read_samples(clip)))[0])
        ]
        if len(windows) == SPREAD_CHANNELS:
            features.append(extract(windows))
            said.append(
                [
                    [network_logit(one.network, window, recipe.hearing.share) for window in windows]
                    for one in trained
                ]
            )
    stacked = np.stack(features).astype(np.float16)
    flat = stacked.reshape(-1, stacked.shape[2])
    synthetic, weights = corpus.column("synthetic")[others], clip_weights(corpus)[others]

    def spreads(one: _Trained, logits: np.ndarray) -> Spreads:
        scores = score_ensemble(one.perceptrons, flat).reshape(stacked.shape[:2])

        def spread(of_perceptrons: float, of_network: float) -> Spread:
            by_clip = of_perceptrons * scores + of_network * logits
            within = float(np.sqrt((by_clip.std(axis=1, ddof=1) ** 2).mean()))
            raw = [of_perceptrons * first + of_network * second for first, second in one.heard]
            slope = _slope(np.concatenate(raw), np.tile(synthetic, len(raw)), np.tile(weights, len(raw)))
            return Spread(within / float(by_clip.mean(axis=1).std(ddof=1)), within * slope)

        return Spreads(spread(1.0, recipe.hearing.weight), spread(1.0, 0.0), spread(0.0, 1.0))

    through, without = (spreads(one, np.array(said)[:, at]) for at, one in enumerate(trained))
    return ChannelSpread(len(stacked), SPREAD_CHANNELS, through, without)


def _train(
    corpus: Corpus,
    folder: Path,
    versions: Sequence[Version],
    heard: Sequence[Version],
    others: np.ndarray,
    recipe: Recipe,
    config: NetworkConfig,
    seed: int,
) -> _Trained:
    """Train a recipe for one fold, its network unless an earlier run did; score ``others`` in versions ``heard``."""
    train = training_mask(corpus, SPREAD_FOLD)
    synthetic, weights = corpus.column("synthetic"), clip_weights(corpus)
    features = load_versions(folder, versions)
    perceptrons = list(fit_members(recipe, features, synthetic, weights, train))
    kept = network_path(corpus, folder, versions, config, seed, SPREAD_FOLD)
    network = fit_network(folder, versions, train, synthetic, weights, config, seed, kept)
    data = Versions(folder, heard)
    return _Trained(
        perceptrons,
        network,
        [
            (
                score_ensemble(perceptrons, features[versions.index(version)][others]),
                data.score(network, at, others, recipe.hearing.share),
            )
            for at, version in enumerate(heard)
        ],
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
