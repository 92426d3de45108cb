"""Calibration, thresholds and reasons: window scores in, a verdict out."""

from __future__ import annotations

import enum


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
