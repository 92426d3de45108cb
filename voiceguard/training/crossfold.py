"""The leave-one-fold-out protocol: every clip scored by a model that never heard its like.

A fold's model trains on the other four folds, and on none of the engine names that the fold holds: one engine
has several pages. The scores of all five folds together are what calibration is fitted on and what is reported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import Progress

from voiceguard.explanation import families, family_masks
from voiceguard.features import FeatureSet, feature_names
from voiceguard.training.corpus import Corpus, clip_weights
from voiceguard.training.mlp import Mlp, MlpConfig, fit_mlp, score_mlp
from voiceguard.training.prepare import features_path

CHANNELS = {"plain": 0, "mild": 1, "hard": 2}
"""Version of the prepared corpus that stands for each severity in the report."""


@dataclass(frozen=True)
class Member:
    """One network of the ensemble."""

    features: FeatureSet
    seed: int

    @property
    def columns(self) -> int:
        """How many of the first features it looks at."""
        return len(feature_names(self.features))


def ensembles(members: int, seed: int = 0) -> dict[FeatureSet, tuple[Member, ...]]:
    """Which networks each detector has: ``members`` on either larger set, or twice as many on the light features."""

    def _on(features: FeatureSet, number: int) -> tuple[Member, ...]:
        return tuple(Member(features, seed + index) for index in range(number))

    return {"light": _on("light", 2 * members), "full": _on("fine", members) + _on("full", members)}


@dataclass(frozen=True)
class CrossFold:
    """Out-of-fold raw scores, shape (clips,) for each severity; NaN where a clip has too little speech."""

    scores: dict[str, np.ndarray]
    speech_s: dict[str, np.ndarray]
    weights: np.ndarray | None = None
    """Raw weight of each family of features in the plain score, shape (clips, families); NaN as above."""

    def save(self, path: Path) -> None:
        """Keep the scores in a ``.npz`` file."""
        arrays = {f"score_{name}": values for name, values in self.scores.items()}
        arrays |= {f"speech_{name}": values for name, values in self.speech_s.items()}
        if self.weights is not None:
            arrays["weights"] = self.weights
        partial = path.with_suffix(".part.npz")
        np.savez(partial, **arrays)  # type: ignore[arg-type]
        partial.rename(path)

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


def load_versions(folder: Path, versions: Sequence[int]) -> list[np.ndarray]:
    """Features of the prepared versions, each of shape (clips, features), float16.

    Raises
    ------
    FileNotFoundError
        If a version has not been prepared.
    """
    return [np.load(features_path(folder, version)) for version in versions]


def cross_fold(
    corpus: Corpus,
    folder: Path,
    versions: list[int],
    config: MlpConfig,
    detectors: Mapping[FeatureSet, Sequence[Member]],
) -> dict[FeatureSet, CrossFold]:
    """Train every member for each fold and score the fold through each severity; a detector's mean logit counts."""
    features = load_versions(folder, versions)
    tested = {name: features[versions.index(version)] for name, version in CHANNELS.items()}
    synthetic, folds, weights = corpus.column("synthetic"), corpus.column("fold"), clip_weights(corpus)
    human = features_mean(features, ~synthetic)
    speech_s = {name: np.load(folder / f"speech-{version}.npy") for name, version in CHANNELS.items()}
    results: dict[FeatureSet, CrossFold] = {
        kind: CrossFold(
            {name: np.full(len(folds), np.nan) for name in CHANNELS},
            speech_s,
            np.full((len(folds), len(families(kind))), np.nan),
        )
        for kind in detectors
    }
    networks = list(dict.fromkeys(member for chosen in detectors.values() for member in chosen))
    with Progress() as progress:
        task = progress.add_task("folds", total=len(np.unique(folds)) * len(networks))
        for fold in np.unique(folds):
            train, test = training_mask(corpus, int(fold)), folds == fold
            chosen = [version[train] for version in features]
            fitted = {}
            for member in networks:
                fitted[member] = fit_mlp(
                    chosen, synthetic[train], weights[train], config, member.seed, member.columns
                )
                progress.advance(task)
            for kind, members in detectors.items():
                models = [fitted[member] for member in members]
                for name in CHANNELS:
                    results[kind].scores[name][test] = score_ensemble(models, tested[name][test])
                weighed = results[kind].weights
                assert weighed is not None
                weighed[test] = _weights(models, kind, tested["plain"][test], human)
    return results


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
