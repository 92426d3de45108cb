"""Fit the calibration: raw scores of unheard voices -> likelihood ratios and thresholds."""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.optimize

from voiceguard.training.corpus import Corpus, clip_weights
from voiceguard.training.crossfold import CrossFold, pseudo_calls
from voiceguard.verdict import Calibration, doublings

TARGETS_S = (0.0, 4.0, 8.0, 16.0, 24.0)
"""Lengths of pseudo-calls that calibration is fitted on; 0 gives single clips."""
FLAG_FALSE_POSITIVES, REVIEW_FALSE_POSITIVES = 0.001, 0.01
CLEAR_MISSES = 0.1
"""At most this share of synthetic speech scores below the clear threshold."""
FIT_PRIOR_STRENGTH = 1e-3


def calibration_set(
    corpus: Corpus, result: CrossFold, keep: np.ndarray, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pool pseudo-calls of every length and severity from the clips that ``keep`` marks.

    Returns raw scores, seconds of speech, synthetic or not, and weights, each of shape (calls,).
    """
    rng = np.random.default_rng(seed)
    clip_weight = clip_weights(corpus)
    parts = []
    for name, scores in result.scores.items():
        masked = np.where(keep, scores, np.nan)
        for target_s in TARGETS_S:
            raw, seconds, synthetic, first = pseudo_calls(
                corpus, masked, result.speech_s[name], target_s, rng
            )
            weight = clip_weight[first]
            # Each length and severity weighs the same, and each class within it.
            for label in (True, False):
                weight[synthetic == label] /= max(weight[synthetic == label].sum(), 1e-9)
            parts.append((raw, seconds, synthetic, weight))
    columns = zip(*parts, strict=True)
    raw, seconds, synthetic, weight = (np.concatenate(column) for column in columns)
    return raw, seconds, synthetic, weight


def fit_calibration(corpus: Corpus, result: CrossFold, keep: np.ndarray | None = None) -> Calibration:
    """Fit slope, offset and their dependence on seconds by weighted logistic regression, then the thresholds.

    A threshold is the highest of those that each severity alone would set: the false-positive rate holds on
    good lines and bad ones.
    """
    if keep is None:
        keep = np.ones(len(corpus.clips), dtype=bool)
    raw, seconds, synthetic, weight = calibration_set(corpus, result, keep)
    length = doublings(seconds)
    design = np.stack([np.ones_like(raw), raw, raw * length, length], axis=1)
    sign = np.where(synthetic, 1.0, -1.0)

    def cost(parameters: np.ndarray) -> float:
        margin = sign * (design @ parameters)
        return float(
            (weight * np.logaddexp(0, -margin)).sum() + FIT_PRIOR_STRENGTH * (parameters[1:] ** 2).sum()
        )

    offset, slope, slope_seconds, offset_seconds = scipy.optimize.minimize(cost, np.eye(4)[1]).x
    fitted = Calibration(
        offset=float(offset),
        slope=float(slope),
        slope_seconds=float(slope_seconds),
        offset_seconds=float(offset_seconds),
        bound=_bound(int((keep & ~corpus.column("synthetic")).sum())),
        flag_threshold=0.0,
        review_threshold=0.0,
        clear_threshold=0.0,
    )
    return with_thresholds(fitted, corpus, result, keep)


def with_thresholds(
    calibration: Calibration, corpus: Corpus, result: CrossFold, keep: np.ndarray
) -> Calibration:
    """Set the thresholds by the share of human speech above them and of synthetic speech below."""
    flags, reviews, clears = [], [], []
    for name, scores in result.scores.items():
        only = CrossFold({name: scores}, {name: result.speech_s[name]})
        raw, seconds, synthetic, _ = calibration_set(corpus, only, keep)
        long_enough = seconds >= calibration.min_speech_s
        score = calibration.scores(raw, seconds)
        human = score[~synthetic & long_enough]
        flags.append(np.quantile(human, 1 - FLAG_FALSE_POSITIVES, method="higher"))
        reviews.append(np.quantile(human, 1 - REVIEW_FALSE_POSITIVES, method="higher"))
        clears.append(np.quantile(score[synthetic & long_enough], CLEAR_MISSES, method="lower"))
    # A hair above the human score that set it: that score itself must stay below.
    review = round(float(max(reviews)) + 0.01, 3)
    return dataclasses.replace(
        calibration,
        flag_threshold=round(float(max(flags)) + 0.01, 3),
        review_threshold=review,
        clear_threshold=min(round(float(min(clears)), 3), review),
    )


def _bound(humans: int) -> float:
    """Largest likelihood ratio that this many human examples can support: one more error than was seen."""
    return round(float(np.log(max(humans, 2))), 2)
