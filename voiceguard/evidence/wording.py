"""A score in plain words, for readers who are no engineers."""

from __future__ import annotations

import math

from voiceguard.console import signed
from voiceguard.screening import ChannelScreening, Screening
from voiceguard.verdict import Reason, Verdict

VERBAL_SCALE = (
    (2, "no support either way"),
    (10, "weak support"),
    (100, "moderate support"),
    (1_000, "moderately strong support"),
    (10_000, "strong support"),
    (1_000_000, "very strong support"),
    (math.inf, "extremely strong support"),
)
"""Words for likelihood ratios below each bound: ENFSI's guideline for evaluative reporting (2015), table 2."""

HEADLINES = {
    Verdict.SYNTHETIC: "Synthetic voice likely",
    Verdict.HUMAN: "Human voice likely",
    Verdict.INCONCLUSIVE: "No verdict",
}
_REASONS = {
    Reason.NO_SPEECH: "The recording holds no speech that could be judged.",
    Reason.TOO_LITTLE_SPEECH: "The recording holds too little speech to be judged.",
    Reason.POOR_QUALITY: "The audio is too poor, noisy or distorted to be judged.",
    Reason.NEAR_THRESHOLD: "The measurement lies between the two thresholds: it supports neither verdict enough.",
}


def reason_in_words(channel: ChannelScreening) -> str:
    """Say why a channel has the verdict that it has."""
    if channel.reason is not None:
        return _REASONS[channel.reason]
    if channel.verdict is Verdict.SYNTHETIC:
        return "The measurement lies above the threshold from which a recording is flagged."
    return "The measurement lies below the threshold up to which a voice is taken for human."


def ratio_in_words(score: float) -> str:
    """Say what a score means: how many times as probable the measurement is under one explanation."""
    ratio = math.exp(abs(score))
    words = support_in_words(ratio)
    if ratio < VERBAL_SCALE[0][0]:
        return (
            "What was measured is about as probable if the voice was made by a machine as if a person spoke: "
            f"{words}."
        )
    machine, person = "if the voice was made by a machine", "if a person spoke"
    more, less, whose = (
        (machine, person, "a synthetic voice") if score > 0 else (person, machine, "a human voice")
    )
    return f"What was measured is about {_rounded(ratio)} times as probable {more} as {less}: {words} for {whose}."


def support_in_words(ratio: float) -> str:
    """Return the verbal scale's words for a likelihood ratio of at least 1."""
    return next(words for bound, words in VERBAL_SCALE if ratio < bound)


def verdict_in_words(screening: Screening) -> str:
    """Say in two or three sentences what was found in the channel that decides."""
    decision = screening.decision
    said = reason_in_words(decision)
    if decision.score is None:
        return said
    return f"{said} Its score is {signed(decision.score)}. {ratio_in_words(decision.score)}"


def _rounded(ratio: float) -> str:
    digits = max(0, 1 - math.floor(math.log10(ratio)))
    return (
        f"{round(ratio, digits):,}" if digits else f"{round(ratio, 1 - math.floor(math.log10(ratio))):,.0f}"
    )
