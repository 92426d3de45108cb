from __future__ import annotations

import csv

import numpy as np
import pytest
import soundfile

pytest.importorskip("torch", reason="needs torch and torchaudio: pip install '.[train]'")

from voiceguard.training.corpus import clip_weights, load_corpus, read_samples
from voiceguard.training.crossfold import pseudo_calls, training_mask

COLUMNS = ["id", "path", "label", "fold", "group", "kind", "source", "engine", "page", "speaker", "seconds"]


@pytest.fixture
def manifest(tmp_path):
    rows = []
    for number in range(40):
        synthetic = number % 2 == 0
        engine = f"engine{number % 6}" if synthetic else ""
        rows.append(
            {
                "id": f"{number:016x}",
                "path": f"audio/{number}.flac",
                "label": "spoof" if synthetic else "bonafide",
                "fold": number // 8,
                "group": f"g{number}",
                "kind": "tts" if synthetic else "human",
                "source": "wild",
                "engine": engine,
                "page": f"page{number // 4}",
                "speaker": "" if synthetic else f"speaker{number % 3}",
                "seconds": 4.0,
            }
        )
    path = tmp_path / "manifest.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_manifest_is_read(manifest):
    corpus = load_corpus(manifest)
    assert len(corpus.clips) == 40
    assert corpus.column("synthetic").sum() == 20
    assert corpus.clips[0].path == manifest.parent / "audio/0.flac"


def test_unknown_label_and_missing_column_are_refused(manifest):
    text = manifest.read_text()
    manifest.write_text(text.replace("spoof", "fake"))
    with pytest.raises(ValueError, match="fake"):
        load_corpus(manifest)
    manifest.write_text(text.replace("group", "cluster"))
    with pytest.raises(ValueError, match="columns"):
        load_corpus(manifest)


def test_samples_are_decoded(manifest, babble):
    clip = load_corpus(manifest).clips[3]
    clip.path.parent.mkdir()
    soundfile.write(clip.path, babble, 8000, subtype="PCM_16")
    np.testing.assert_allclose(read_samples(clip), babble, atol=1e-4)


def test_classes_weigh_the_same_and_crowded_voices_less(manifest):
    corpus = load_corpus(manifest)
    weights, synthetic = clip_weights(corpus), corpus.column("synthetic")
    assert weights[synthetic].sum() == pytest.approx(weights[~synthetic].sum())
    assert weights.mean() == pytest.approx(1)


def test_no_engine_of_a_fold_trains_its_model(manifest):
    corpus = load_corpus(manifest)
    engines, synthetic, folds = (corpus.column(name) for name in ("engine", "synthetic", "fold"))
    for fold in range(5):
        mask = training_mask(corpus, fold)
        assert not (mask & (folds == fold)).any()
        heard = set(engines[mask & synthetic])
        assert not heard & set(engines[(folds == fold) & synthetic])
        assert mask[~synthetic & (folds != fold)].all()


def test_pseudo_calls_join_one_voice_each(manifest, rng):
    corpus = load_corpus(manifest)
    scores = np.where(corpus.column("synthetic"), 1.0, -1.0)
    scores[0] = np.nan
    raw, seconds, synthetic, first = pseudo_calls(corpus, scores, np.full(40, 3.0), 6.0, rng)
    assert len(raw) == len(seconds) == len(synthetic) == len(first)
    np.testing.assert_array_equal(raw, np.where(synthetic, 1.0, -1.0))
    assert (seconds >= 4.2).all()
    assert 0 not in first
