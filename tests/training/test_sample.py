"""The shipped model scores a fixed sample of the corpus as it did when it was made, where the corpus is at hand."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from voiceguard.screening import Screener
from voiceguard.shipped import shipped
from voiceguard.training.corpus import Corpus, load_corpus
from voiceguard.training.sample import CLIPS, SAMPLE_FILE, sample_auc, score_sample

MANIFEST = Path(os.environ.get("VOICEGUARD_TEST_CORPUS", "")) / "manifest.csv"
KEPT = json.loads((shipped("models") / SAMPLE_FILE).read_text())


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    if not MANIFEST.is_file():
        pytest.skip("needs the training corpus: VOICEGUARD_TEST_CORPUS=FOLDER")
    return load_corpus(MANIFEST)


def test_the_kept_scores_tell_the_classes_apart() -> None:
    assert len(KEPT["scores"]) > 0.9 * CLIPS
    assert KEPT["auc"] > 0.8


@pytest.mark.slow
def test_the_shipped_model_still_scores_the_sample_alike(corpus: Corpus) -> None:
    assert corpus.sha256 == KEPT["corpus_sha256"]
    scores = score_sample(corpus, Screener.load())
    assert scores.keys() == KEPT["scores"].keys()
    assert scores == pytest.approx(KEPT["scores"], abs=0.05)
    assert sample_auc(corpus, scores) == pytest.approx(KEPT["auc"], abs=0.002)
