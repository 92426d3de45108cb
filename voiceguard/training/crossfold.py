"""The leave-one-fold-out protocol: every clip scored by a model that never heard its like.

A fold's model trains on the other four folds, and on none of the engine names that the fold holds: one engine
has several pages. The scores of all five folds together are what calibration is fitted on and what is reported.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress, track

from voiceguard.explanation import families, family_masks
from voiceguard.features import FeatureSet, feature_names
from voiceguard.processes import keep_all_memory, one_thread
from voiceguard.training.corpus import Corpus, clip_weights
from voiceguard.training.kept import recipe_key, save_arrays
from voiceguard.training.mlp import Mlp, MlpConfig, fit_mlp, score_mlp
from voiceguard.training.network import NetworkConfig, Versions, fit_network
from voiceguard.training.prepare import Version, features_path

CHANNELS = {"plain": 0, "mild": 1, "hard": 2}
"""Version of the prepared corpus that stands for each severity in the report."""


@dataclass(frozen=True)
class Hearing:
    """How the network on the spectrogram takes part in a detector."""

    weight: float
    """What its logit counts beside the mean logit of those on features."""
    share: float
    """How much of a window it hears."""


@dataclass(frozen=True)
class Member:
    """One network of the ensemble."""

    features: FeatureSet
    seed: int

    @property
    def columns(self) -> int:
        """How many of the first features it looks at."""
        return len(feature_names(self.features))


@dataclass(frozen=True)
class Recipe:
    """How a detector is made."""

    members: tuple[Member, ...]
    perceptron: MlpConfig
    """Of every member."""
    hearing: Hearing


def recipes(members: int = 2, epochs: int = MlpConfig.epochs, seed: int = 0) -> dict[FeatureSet, Recipe]:
    """Return each detector's recipe: ``members`` perceptrons on either larger set of features, or on the light one."""

    def _on(features: FeatureSet) -> tuple[Member, ...]:
        return tuple(Member(features, seed + index) for index in range(members))

    narrow, wide = MlpConfig(epochs=epochs), MlpConfig(hidden=(512, 128), epochs=epochs)
    return {
        "light": Recipe(_on("light"), wide, Hearing(weight=0.3, share=0.5)),
        "full": Recipe(_on("fine") + _on("full"), narrow, Hearing(weight=0.4, share=1.0)),
    }


@dataclass(frozen=True)
class CrossFold:
    """Out-of-fold raw scores, shape (clips,) for each severity; NaN where a clip has too little speech."""

    scores: dict[str, np.ndarray]
    speech_s: dict[str, np.ndarray]
    weights: np.ndarray | None = None
    """Raw weight of each family of features in the plain score, shape (clips, families); NaN as above. Of the network
    on the spectrogram last, where one takes part."""

    def save(self, path: Path) -> None:
        """Keep the scores in a ``.npz`` file."""
        arrays = {f"score_{name}": values for name, values in self.scores.items()}
        arrays |= {f"speech_{name}": values for name, values in self.speech_s.items()}
        if self.weights is not None:
            arrays["weights"] = self.weights
        save_arrays(arrays, path)

    @classmethod
    def load(cls, path: Path) -> CrossFold:
        """Read what :meth:`save` kept."""
        stored = np.load(path)
        return cls(
            {name: stored[f"score_{name}"] for name in CHANNELS},
            {name: stored[f"speech_{name}"] for name in CHANNELS},
            stored.get("weights"),
        )


def training_mask(corpus: Corpus, fold: int) -> np.ndarray:
    """Which clips may train the model that is tested on ``fold``, shape (clips,), bool."""
    folds, engines = corpus.column("fold"), corpus.column("engine")
    tested = folds == fold
    heard = np.unique(engines[tested & corpus.column("synthetic")])
    return ~tested & ~(np.isin(engines, heard) & (engines != "") & corpus.column("synthetic"))


def load_versions(folder: Path, versions: Sequence[Version]) -> list[np.ndarray]:
    """Features of the prepared versions, each of shape (clips, features), float16.

    Raises
    ------
    FileNotFoundError
        If a version has not been prepared.
    """
    return [np.load(features_path(folder, version)) for version in versions]


def cross_fold(
    corpus: Corpus, folder: Path, versions: list[int], kind: FeatureSet, recipe: Recipe
) -> CrossFold:
    """Train a detector's perceptrons for each fold and score it through each severity; their mean logit counts."""
    features = load_versions(folder, versions)
    tested = {name: features[versions.index(version)] for name, version in CHANNELS.items()}
    synthetic, folds, weights = corpus.column("synthetic"), corpus.column("fold"), clip_weights(corpus)
    human = features_mean(features, ~synthetic)
    scores = {name: np.full(len(folds), np.nan) for name in CHANNELS}
    weighed = np.full((len(folds), len(families(kind))), np.nan)
    with Progress() as progress:
        task = progress.add_task("folds", total=len(np.unique(folds)) * len(recipe.members))
        for fold in np.unique(folds):
            train, test = training_mask(corpus, int(fold)), folds == fold
            models = []
            for model in fit_members(recipe, features, synthetic, weights, train):
                models.append(model)
                progress.advance(task)
            for name in CHANNELS:
                scores[name][test] = score_ensemble(models, tested[name][test])
            weighed[test] = _weights(models, kind, tested["plain"][test], human)
    speech_s = {name: np.load(folder / f"speech-{version}.npy") for name, version in CHANNELS.items()}
    return CrossFold(scores, speech_s, weighed)


def fit_members(
    recipe: Recipe,
    features: Sequence[np.ndarray],
    synthetic: np.ndarray,
    weights: np.ndarray,
    train: np.ndarray,
) -> Iterator[Mlp]:
    """Train a recipe's perceptrons, one after another, on the clips that ``train`` marks."""
    chosen = [version[train] for version in features]
    for member in recipe.members:
        yield fit_mlp(
            chosen, synthetic[train], weights[train], recipe.perceptron, member.seed, member.columns
        )


def score_ensemble(models: Sequence[Mlp], features: np.ndarray) -> np.ndarray:
    """Mean logit of several networks, shape (clips, features) -> (clips,), NaN where the row is."""
    return np.asarray(np.mean([score_mlp(model, features) for model in models], axis=0))


def features_mean(versions: Sequence[np.ndarray], chosen: np.ndarray) -> np.ndarray:
    """Mean features of the chosen clips over all versions, shape (features,), float32."""
    means = [np.nanmean(version[chosen].astype(np.float32), axis=0) for version in versions]
    return np.asarray(np.mean(means, axis=0), np.float32)


def _weights(models: Sequence[Mlp], kind: FeatureSet, features: np.ndarray, human: np.ndarray) -> np.ndarray:
    """How far each clip's logit falls when a family is that of mean human speech, shape (clips, families)."""
    count = len(feature_names(kind))
    features, human = features[:, :count], human[:count]
    whole = score_ensemble(models, features)
    falls = [whole - score_ensemble(models, np.where(mask, human, features)) for mask in family_masks(kind)]
    return np.stack(falls, axis=1)


def cross_fold_network(
    corpus: Corpus,
    folder: Path,
    versions: Sequence[int],
    config: NetworkConfig,
    shares: Mapping[FeatureSet, float],
    seed: int,
    jobs: int,
) -> dict[FeatureSet, dict[str, np.ndarray]]:
    """Train the network on the spectrogram for each fold and for the whole corpus; return what the folds' ones say.

    ``jobs`` processes of one thread each share the folds; on a GPU they go one after the other. ``shares`` says how
    much of a clip each detector hears. Logits have shape (clips,) for each detector and severity; NaN where a clip has
    too little speech.
    """
    folds = corpus.column("fold")
    tasks = [
        (corpus, folder, list(versions), config, dict(shares), seed, fold)
        for fold in (*np.unique(folds).tolist(), None)
    ]
    scores = {kind: {name: np.full(len(folds), np.nan) for name in CHANNELS} for kind in shares}
    if torch.cuda.is_available():
        jobs = 1
    one_thread()
    with multiprocessing.get_context("spawn").Pool(jobs, keep_all_memory) as pool:
        results = pool.imap_unordered(_fold_network, tasks)
        for fold, found in track(results, "networks on the spectrogram", total=len(tasks)):
            for (kind, name), logits in found.items():
                scores[kind][name][folds == fold] = logits
    return scores


def network_path(
    corpus: Corpus,
    folder: Path,
    versions: Sequence[Version],
    config: NetworkConfig,
    seed: int,
    fold: int | None,
) -> Path:
    """Where the weights of the network lie that is tested on ``fold``; None: of the one that heard all folds."""
    key = recipe_key([corpus.sha256, list(versions), dataclasses.asdict(config), seed])
    return folder / f"network-{key}-{'all' if fold is None else fold}.pt"


def _fold_network(
    task: tuple[Corpus, Path, list[int], NetworkConfig, dict[FeatureSet, float], int, int | None],
) -> tuple[int | None, dict[tuple[FeatureSet, str], np.ndarray]]:
    corpus, folder, versions, config, shares, seed, fold = task
    torch.set_num_threads(1)
    train = np.ones(len(corpus.clips), bool) if fold is None else training_mask(corpus, fold)
    kept = network_path(corpus, folder, versions, config, seed, fold)
    model = fit_network(
        folder, versions, train, corpus.column("synthetic"), clip_weights(corpus), config, seed, kept
    )
    if fold is None:
        return fold, {}
    tested = np.flatnonzero(corpus.column("fold") == fold)
    data = Versions(folder, list(CHANNELS.values()))
    return fold, {
        (kind, name): data.score(model, at, tested, share)
        for kind, share in shares.items()
        for at, name in enumerate(CHANNELS)
    }


def fuse(corpus: Corpus, result: CrossFold, logits: Mapping[str, np.ndarray], weight: float) -> CrossFold:
    """Add the network's logits, times ``weight``, to what the features score; its part joins those of families."""
    added = {name: weight * values for name, values in logits.items()}
    scores = {name: values + added[name] for name, values in result.scores.items()}
    weights = result.weights
    if weights is not None:
        beyond = added["plain"] - mean_of_humans(corpus, added["plain"])
        weights = np.concatenate([weights, beyond[:, None]], axis=1)
    return CrossFold(scores, result.speech_s, weights)


def mean_of_humans(corpus: Corpus, values: np.ndarray) -> float:
    """Mean over human clips of wild pages, where there is a value, of shape (clips,)."""
    human = ~corpus.column("synthetic") & (corpus.column("source") == "wild")
    return float(np.nanmean(values[human]))


def pseudo_calls(
    corpus: Corpus, scores: np.ndarray, speech_s: np.ndarray, target_s: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Join clips of one voice into calls of about ``target_s`` seconds of speech.

    Returns
    -------
    tuple of np.ndarray, each of shape (calls,)
        Mean raw score, seconds of speech, synthetic or not, index of the first clip. Voices with too few clips
        for 70 % of the target give no call.
    """
    voices = corpus.column("voice")
    usable = np.isfinite(scores)
    raws, seconds, firsts = [], [], []
    order = rng.permutation(np.flatnonzero(usable))
    order = order[np.argsort(voices[order], kind="stable")]
    _, starts = np.unique(voices[order], return_index=True)
    for rows in np.split(order, starts[1:]):
        taken: list[int] = []
        total = 0.0
        for row in rows:
            taken.append(int(row))
            total += float(speech_s[row])
            if total >= target_s:
                raws.append(np.average(scores[taken], weights=speech_s[taken]))
                seconds.append(total)
                firsts.append(taken[0])
                taken, total = [], 0.0
        if taken and total >= 0.7 * target_s:
            raws.append(np.average(scores[taken], weights=speech_s[taken]))
            seconds.append(total)
            firsts.append(taken[0])
    first = np.array(firsts, dtype=int)
    return np.array(raws), np.array(seconds), corpus.column("synthetic")[first], first
