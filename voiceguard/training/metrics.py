"""Measures of detection: error rates, areas, calibration, with intervals.

Cllr: Brümmer and du Preez, "Application-independent evaluation of speaker detection", Computer Speech and
Language 20, 2006. Clopper and Pearson, Biometrika 26, 1934.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.stats


@dataclass(frozen=True)
class Rate:
    """A share of ``total`` with its 95 % Clopper-Pearson interval."""

    count: int
    total: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The share itself, 0–1; NaN of nothing."""
        return self.count / self.total if self.total else float("nan")


def rate(hits: np.ndarray) -> Rate:
    """Count a boolean array, shape (n,)."""
    count, total = int(hits.sum()), len(hits)
    low = scipy.stats.beta.ppf(0.025, count, total - count + 1) if count else 0.0
    high = scipy.stats.beta.ppf(0.975, count + 1, total - count) if count < total else 1.0
    return Rate(count, total, float(low), float(high))


def equal_error_rate(human: np.ndarray, synthetic: np.ndarray) -> float:
    """Error at the threshold where misses and false alarms are equal; scores of shape (n,) and (m,)."""
    scores = np.concatenate([human, synthetic])
    labels = np.concatenate([np.zeros(len(human)), np.ones(len(synthetic))])
    order = np.argsort(scores, kind="stable")
    misses = np.cumsum(labels[order]) / len(synthetic)
    alarms = 1 - np.cumsum(1 - labels[order]) / len(human)
    best = np.argmin(np.abs(misses - alarms))
    return float((misses[best] + alarms[best]) / 2)


def area_under_curve(human: np.ndarray, synthetic: np.ndarray) -> float:
    """Probability that a synthetic score exceeds a human one; ties count half (Mann-Whitney)."""
    ranks = scipy.stats.rankdata(np.concatenate([human, synthetic]))
    m = len(synthetic)
    return float((ranks[len(human) :].sum() - m * (m + 1) / 2) / (m * len(human)))


def area_within(scores: np.ndarray, synthetic: np.ndarray, pages: np.ndarray, least: int = 2) -> float:
    """Mean over pages of the area within each; pages with fewer than ``least`` clips of a class are left out.

    The channel of a page is the same for both classes, so a detector that learned channels is at 0.5.
    """
    areas = []
    for page in np.unique(pages):
        here = pages == page
        human, fake = scores[here & ~synthetic], scores[here & synthetic]
        if page and min(len(human), len(fake)) >= least:
            areas.append(area_under_curve(human, fake))
    return float(np.mean(areas)) if areas else float("nan")


def true_positive_rate(human: np.ndarray, synthetic: np.ndarray, false_positive_rate: float) -> float:
    """Share of synthetic scores above the threshold that this share of human scores exceeds."""
    threshold = np.quantile(human, 1 - false_positive_rate, method="higher")
    return float((synthetic > threshold).mean())


def cllr(human: np.ndarray, synthetic: np.ndarray) -> float:
    """Cost of natural-log likelihood ratios, bits; 0 is perfect, 1 says nothing."""
    human_cost = np.logaddexp(0, human).mean()
    synthetic_cost = np.logaddexp(0, -synthetic).mean()
    return float((human_cost + synthetic_cost) / (2 * np.log(2)))


def minimum_cllr(human: np.ndarray, synthetic: np.ndarray) -> float:
    """Cllr after the best monotone calibration (pool adjacent violators)."""
    from sklearn.isotonic import IsotonicRegression

    scores = np.concatenate([human, synthetic])
    labels = np.concatenate([np.zeros(len(human)), np.ones(len(synthetic))])
    fitted = IsotonicRegression(y_min=1e-6, y_max=1 - 1e-6).fit_transform(
        scores, labels, sample_weight=_balanced(human, synthetic)
    )
    ratios = np.log(fitted / (1 - fitted))
    return cllr(ratios[: len(human)], ratios[len(human) :])


def excess_by_chance(human: np.ndarray, synthetic: np.ndarray, draws: int = 10, seed: int = 0) -> float:
    """How far Cllr would lie above its minimum if these were true likelihood ratios: the minimum is fitted to them.

    As many scores of each class are drawn again from all of them, a score for a class as often as it says.
    """
    rng = np.random.default_rng(seed)
    scores, weights = np.concatenate([human, synthetic]), _balanced(human, synthetic)
    share = weights / (1 + np.exp(-scores))
    excesses = []
    for _ in range(draws):
        drawn_human = rng.choice(scores, len(human), p=(weights - share) / (weights - share).sum())
        drawn_synthetic = rng.choice(scores, len(synthetic), p=share / share.sum())
        excesses.append(cllr(drawn_human, drawn_synthetic) - minimum_cllr(drawn_human, drawn_synthetic))
    return float(np.mean(excesses))


def _balanced(human: np.ndarray, synthetic: np.ndarray) -> np.ndarray:
    """Weights with which both classes count the same, the human scores' first; they sum to 1."""
    return np.repeat([0.5 / len(human), 0.5 / len(synthetic)], [len(human), len(synthetic)])
