"""The leave-one-fold-out protocol: every clip scored by a model that never heard its like.

A fold's model trains on the other four folds, and on none of the engine names that the fold holds: one engine
has several pages. The scores of all five folds together are what calibration is fitted on and what is reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import Progress

from voiceguard.explanation import FAMILIES, family_masks
from voiceguard.training.corpus import Corpus, clip_weights
from voiceguard.training.mlp import Mlp, MlpConfig, fit_mlp, score_mlp

CHANNELS = {"plain": 0, "mild": 1, "hard": 2}
"""Version of the prepared corpus that stands for each severity in the report."""


@dataclass(frozen=True)
class CrossFold:
    """Out-of-fold raw scores, shape (clips,) for each severity; NaN where a clip has too little speech."""

    scores: dict[str, np.ndarray]
    speech_s: dict[str, np.ndarray]
    weights: np.ndarray | None = None
    """Raw weight of each family of features in the plain score, shape (clips, families); NaN as above."""


def training_mask(corpus: Corpus, fold: int) -> np.ndarray:
    """Which clips may train the model that is tested on ``fold``, shape (clips,), bool."""
    folds, engines = corpus.column("fold"), corpus.column("engine")
    tested = folds == fold
    heard = np.unique(engines[tested & corpus.column("synthetic")])
    return ~tested & ~(np.isin(engines, heard) & (engines != "") & corpus.column("synthetic"))


def load_versions(folder: Path, versions: list[int]) -> list[np.ndarray]:
    """Features of the prepared versions, each of shape (clips, features), float16.

    Raises
    ------
    FileNotFoundError
        If a version has not been prepared.
    """
    return [np.load(folder / f"features-{version}.npy") for version in versions]


def cross_fold(
    corpus: Corpus, folder: Path, versions: list[int], config: MlpConfig, members: int, seed: int = 0
) -> CrossFold:
    """Train ``members`` models for each fold and score the fold through each severity; the mean logit counts."""
    features = load_versions(folder, versions)
    synthetic, folds, weights = corpus.column("synthetic"), corpus.column("fold"), clip_weights(corpus)
    human = features_mean(features, ~synthetic)
    weighed = np.full((len(folds), len(FAMILIES)), np.nan)
    tested = {name: np.load(folder / f"features-{version}.npy") for name, version in CHANNELS.items()}
    scores = {name: np.full(len(folds), np.nan) for name in CHANNELS}
    with Progress() as progress:
        task = progress.add_task("folds", total=len(np.unique(folds)) * members)
        for fold in np.unique(folds):
            train, test = training_mask(corpus, int(fold)), folds == fold
            chosen = [version[train] for version in features]
            totals = {name: np.zeros(int(test.sum())) for name in CHANNELS}
            share = np.zeros((int(test.sum()), len(FAMILIES)))
            for member in range(members):
                model = fit_mlp(chosen, synthetic[train], weights[train], config, seed + member)
                for name in CHANNELS:
                    totals[name] += score_mlp(model, tested[name][test])
                share += _weights(model, tested["plain"][test], human) / members
                progress.advance(task)
            for name in CHANNELS:
                scores[name][test] = totals[name] / members
            weighed[test] = share
    speech_s = {name: np.load(folder / f"speech-{version}.npy") for name, version in CHANNELS.items()}
    return CrossFold(scores, speech_s, weighed)


def features_mean(versions: Sequence[np.ndarray], chosen: np.ndarray) -> np.ndarray:
    """Mean features of the chosen clips over all versions, shape (features,), float32."""
    means = [np.nanmean(version[chosen].astype(np.float32), axis=0) for version in versions]
    return np.asarray(np.mean(means, axis=0), np.float32)


def _weights(model: Mlp, features: np.ndarray, human: np.ndarray) -> np.ndarray:
    """How far each clip's logit falls when a family is that of mean human speech, shape (clips, families)."""
    whole = score_mlp(model, features)
    falls = [whole - score_mlp(model, np.where(mask, human, features)) for mask in family_masks()]
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
