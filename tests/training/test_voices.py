"""Whole voices missed, or single clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.stats

pytest.importorskip("torch", reason="needs torch and torchaudio: pip install '.[train]'")

from voiceguard.training.corpus import Clip, Corpus
from voiceguard.training.crossfold import CrossFold
from voiceguard.training.voices import voice_figures

HUMAN, VOICES = 4000, 600
WITHIN, GAP = 1.5, 3.4


def _drawn(between: float) -> tuple[Corpus, CrossFold]:
    """Human clips around 0, and voices of one to eight clips each around ``GAP``; some clips too short to score."""
    rng = np.random.default_rng(3)
    counts = rng.integers(1, 9, VOICES)
    engines = [""] * HUMAN + [f"engine{voice}" for voice in np.repeat(np.arange(VOICES), counts)]
    clips = tuple(
        Clip("0", Path("0"), engine != "", 0, "g", "k", "wild", engine, "page", "", "en", "2026", 3.0)
        for engine in engines
    )
    centres = np.repeat(GAP + between * rng.standard_normal(VOICES), counts)
    scores = np.concatenate([np.zeros(HUMAN), centres]) + WITHIN * rng.standard_normal(len(clips))
    scores[:: len(clips) // 50] = np.nan
    return Corpus(clips, ""), CrossFold(dict.fromkeys(("plain", "mild", "hard"), scores), {})


def test_the_spread_of_voices_is_told_from_that_of_clips() -> None:
    found = voice_figures(*_drawn(between=2.0))
    assert 500 < found.voices < VOICES  # those of one clip say nothing
    assert found.between == pytest.approx(2.0, rel=0.1)
    assert found.within == pytest.approx(WITHIN, rel=0.05)
    assert found.eer_if_alike == pytest.approx(scipy.stats.norm.cdf(-GAP / (2 * WITHIN)), abs=0.01)
    assert found.eer == pytest.approx(scipy.stats.norm.cdf(-GAP / (WITHIN + np.hypot(WITHIN, 2))), abs=0.015)


def test_voices_that_are_alike_cost_nothing() -> None:
    found = voice_figures(*_drawn(between=0.0))
    assert found.between < 0.3
    assert found.eer_if_alike == pytest.approx(found.eer, abs=0.01)


def test_without_voices_it_says_so() -> None:
    corpus, result = _drawn(between=1.0)
    lonely = Corpus(corpus.clips[:HUMAN], "")
    scores = {name: values[:HUMAN] for name, values in result.scores.items()}
    with pytest.raises(ValueError, match="found none"):
        voice_figures(lonely, CrossFold(scores, {}))
