"""The shipped model scores a fixed sample of the corpus as it did when it was made, where the corpus is at hand."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from voiceguard.detector import LIGHT_MODEL
from voiceguard.screening import Screener
from voiceguard.shipped import shipped
from voiceguard.training.corpus import Corpus, load_corpus
from voiceguard.training.sample import CLIPS, SAMPLE_FILE, sample_auc, score_sample

MANIFEST = Path(os.environ.get("VOICEGUARD_TEST_CORPUS", "")) / "manifest.csv"
MODELS = {"full": shipped("models"), "light": shipped("models") / LIGHT_MODEL}


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    if not MANIFEST.is_file():
        pytest.skip("needs the training corpus: VOICEGUARD_TEST_CORPUS=FOLDER")
    return load_corpus(MANIFEST)


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> Path:
    return MODELS[request.param]


@pytest.fixture
def kept(model: Path) -> dict[str, Any]:
    return json.loads((model / SAMPLE_FILE).read_text())


def test_the_kept_scores_tell_the_classes_apart(kept: dict[str, Any]) -> None:
    assert len(kept["scores"]) > 0.9 * CLIPS
    assert kept["auc"] > 0.8


@pytest.mark.slow
def test_the_shipped_models_still_score_the_sample_alike(
    corpus: Corpus, model: Path, kept: dict[str, Any]
) -> None:
    assert corpus.sha256 == kept["corpus_sha256"]
    scores = score_sample(corpus, Screener.load(model))
    assert scores.keys() == kept["scores"].keys()
    assert scores == pytest.approx(kept["scores"], abs=0.05)
    assert sample_auc(corpus, scores) == pytest.approx(kept["auc"], abs=0.002)
