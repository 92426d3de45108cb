"""Voices: whether the detector errs on single clips, or on all that one synthetic voice says.

What is left once every voice is recognised equally well is the noise of short clips, which longer speech averages
out. The rest is voices that are unlike those of the training, which only more of them in training can mend.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from voiceguard.training import metrics
from voiceguard.training.corpus import Corpus
from voiceguard.training.crossfold import CrossFold

LEAST_CLIPS = 2
"""Of a voice whose mean is taken."""


@dataclass(frozen=True)
class VoiceFigures:
    """Plain phone, wild pages: human clips against those of synthetic voices with two clips or more."""

    voices: int
    """Synthetic ones."""
    between: float
    """Standard deviation of the voices' raw scores, without what is chance in a mean of few clips."""
    within: float
    """Standard deviation of a clip's raw score around that of its voice."""
    eer: float
    eer_if_alike: float
    """Had all synthetic voices the same mean score, their clips around it as they are."""


def voice_figures(corpus: Corpus, result: CrossFold) -> VoiceFigures:
    """Part the spread of synthetic clips' scores into that of voices and that of one voice's clips.

    Raises
    ------
    ValueError
        If no synthetic voice of a wild page has two clips.
    """
    score, synthetic = result.scores["plain"], corpus.column("synthetic")
    wild = np.isfinite(score) & (corpus.column("source") == "wild")
    human, scores = score[wild & ~synthetic], score[wild & synthetic]
    _, voice, counts = np.unique(
        corpus.column("voice")[wild & synthetic], return_inverse=True, return_counts=True
    )
    means = np.bincount(voice, scores) / counts
    several = counts >= LEAST_CLIPS
    if not several.any():
        raise ValueError(
            f"expected synthetic voices with {LEAST_CLIPS} clips or more on wild pages, found none"
        )
    kept = several[voice]
    scores, voice = scores[kept], voice[kept]
    number = counts[voice]
    # A clip lies nearer to a mean that it is part of; this brings it back to how far it lies from the voice's own.
    around = (scores - means[voice]) * np.sqrt(number / (number - 1))
    within = float(np.sqrt(np.mean(around**2)))
    chance = within**2 * np.mean(1 / counts[several])
    between = float(np.var(means[several], ddof=1) - chance)
    return VoiceFigures(
        int(several.sum()),
        max(between, 0.0) ** 0.5,
        within,
        metrics.equal_error_rate(human, scores),
        metrics.equal_error_rate(human, scores.mean() + around),
    )
