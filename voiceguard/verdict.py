"""Calibration, thresholds and reasons: window scores in, a verdict out."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

import numpy as np


class Verdict(enum.StrEnum):
    """What the audio supports; never a statement about the law."""

    SYNTHETIC = "synthetic"
    HUMAN = "human"
    INCONCLUSIVE = "inconclusive"


class Reason(enum.StrEnum):
    """Why a verdict is ``inconclusive``."""

    NO_SPEECH = "no_speech"
    TOO_LITTLE_SPEECH = "too_little_speech"
    POOR_QUALITY = "poor_quality"
    NEAR_THRESHOLD = "near_threshold"


@dataclass(frozen=True)
class Calibration:
    """From raw scores to a likelihood ratio, and where verdicts begin.

    The score of speech of ``seconds`` with mean raw score ``raw`` is
    ``offset + offset_seconds · length + (slope + slope_seconds · length) · raw`` with ``length = log2(seconds / 4)``,
    bounded by ``bound``: a natural-log likelihood ratio, fitted by logistic regression at equal priors on voices that
    the detector had not heard.
    """

    offset: float
    slope: float
    slope_seconds: float
    bound: float
    flag_threshold: float
    """From here on ``synthetic``; at most 0.1 % of human speech of the evaluation lies above."""
    review_threshold: float
    """From here on a person should listen; at most 1 % of human speech lies above."""
    clear_threshold: float
    """Up to here ``human``; between the two ``inconclusive``."""
    prior: float = 0.01
    """Share of synthetic calls that ``probability`` assumes."""
    min_speech_s: float = 2.0
    min_snr_db: float = 3.0
    max_clipped_share: float = 0.1
    offset_seconds: float = 0.0
    live_margin: float = 0.7
    """How far past a threshold a running call's score must be for a verdict before its end."""

    def score(self, raw: float, speech_s: float) -> float:
        """Natural-log likelihood ratio, synthetic over human, of a mean raw score over ``speech_s`` seconds."""
        return float(self.scores(np.array(raw), np.array(speech_s)))

    def scores(self, raw: np.ndarray, speech_s: np.ndarray) -> np.ndarray:
        """Score many at once; arrays of one shape."""
        length = doublings(speech_s)
        offset = self.offset + self.offset_seconds * length
        return np.clip(offset + (self.slope + self.slope_seconds * length) * raw, -self.bound, self.bound)

    def slope_at(self, speech_s: float) -> float:
        """How far the score moves when the mean raw score over ``speech_s`` seconds moves by one."""
        return float(self.slope + self.slope_seconds * doublings(np.array(speech_s)))

    def probability(self, score: float) -> float:
        """Posterior probability of ``synthetic`` at the stated prior."""
        odds = score + math.log(self.prior / (1 - self.prior))
        return 1 / (1 + math.exp(-odds))

    def decide(
        self, score: float | None, speech_s: float, snr_db: float, clipped_share: float
    ) -> tuple[Verdict, Reason | None]:
        """Turn a score and the audio's quality into a verdict; abstain with a reason where it must."""
        if speech_s == 0:
            return Verdict.INCONCLUSIVE, Reason.NO_SPEECH
        if score is None or speech_s < self.min_speech_s:
            return Verdict.INCONCLUSIVE, Reason.TOO_LITTLE_SPEECH
        if snr_db < self.min_snr_db or clipped_share > self.max_clipped_share:
            return Verdict.INCONCLUSIVE, Reason.POOR_QUALITY
        if score >= self.flag_threshold:
            return Verdict.SYNTHETIC, None
        if score <= self.clear_threshold:
            return Verdict.HUMAN, None
        return Verdict.INCONCLUSIVE, Reason.NEAR_THRESHOLD

    def decide_early(
        self, score: float | None, speech_s: float, snr_db: float, clipped_share: float
    ) -> Verdict | None:
        """Decide on a running call, with ``live_margin`` for having looked before; None: keep listening."""
        for margin, sought in ((-self.live_margin, Verdict.SYNTHETIC), (self.live_margin, Verdict.HUMAN)):
            shifted = None if score is None else score + margin
            if self.decide(shifted, speech_s, snr_db, clipped_share)[0] is sought:
                return sought
        return None


def doublings(speech_s: np.ndarray) -> np.ndarray:
    """How often 4 seconds are doubled to make so many, by which a score grows; from 1 to 32 s."""
    return np.asarray(np.log2(np.clip(speech_s, 1.0, 32.0) / 4))
