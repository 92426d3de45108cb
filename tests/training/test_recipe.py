"""The whole recipe on a small corpus made here: prepare, cross-fold, calibrate, export, report."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytestmark = pytest.mark.train


def test_recipe_learns_and_the_exported_model_screens(manifest, tmp_path):
    from voiceguard.detector import Detector
    from voiceguard.features import feature_names
    from voiceguard.training.calibrate import fit_calibration
    from voiceguard.training.card import write_card
    from voiceguard.training.corpus import clip_weights, load_corpus
    from voiceguard.training.crossfold import cross_fold, load_versions, recipes, score_ensemble
    from voiceguard.training.export import export_ensemble, write_model
    from voiceguard.training.mlp import MlpConfig, fit_mlp
    from voiceguard.training.prepare import prepare
    from voiceguard.training.report import make_report

    corpus = load_corpus(manifest)
    prepare(corpus, tmp_path, [0, 1, 2], jobs=1)
    config = MlpConfig(hidden=(32, 8), epochs=12, batch=32)
    made = {kind: dataclasses.replace(recipe, perceptron=config) for kind, recipe in recipes(1).items()}
    results = {kind: cross_fold(corpus, tmp_path, [0, 1, 2], kind, recipe) for kind, recipe in made.items()}
    light, result = results["light"], results["full"]
    assert not np.array_equal(light.scores["plain"], result.scores["plain"])
    report = make_report(corpus, result, tmp_path)
    plain = report.tables["Clips of 3–4 s from wild pages, by channel"][0]
    assert plain.auc > 0.9
    assert "plain" in report.to_markdown()
    calibration = fit_calibration(corpus, result)
    assert calibration.slope > 0

    again = cross_fold(corpus, tmp_path, [0, 1, 2], "light", made["light"])
    np.testing.assert_allclose(again.scores["plain"], light.scores["plain"], atol=1e-4)

    features = load_versions(tmp_path, [0, 1, 2])
    synthetic, weights = corpus.column("synthetic"), clip_weights(corpus)
    rows = features[0][:20]
    for kind, recipe in made.items():
        models = [
            fit_mlp(features, synthetic, weights, config, member.seed, member.columns)
            for member in recipe.members
        ]
        out = tmp_path / kind
        write_model(out, "test", export_ensemble(models), calibration, kind)
        said = {"members": recipe.members, "clips": 160, "corpus_sha256": "", "versions": 3}
        write_card(out, "test", kind, calibration, report, said)
        detector = Detector(out)
        count = len(feature_names(kind))
        actual = detector.score_features(rows[:, :count].astype(np.float32))
        np.testing.assert_allclose(actual, score_ensemble(models, rows), atol=0.01)
        assert detector.record.features == kind


def test_kept_weights_score_alike(tmp_path):
    from voiceguard.training.mlp import MlpConfig, fit_mlp, load_mlp, save_mlp, score_mlp

    rng = np.random.default_rng(3)
    versions = [rng.standard_normal((64, 12)).astype(np.float16) for _ in range(2)]
    config = MlpConfig(hidden=(8, 4), epochs=2, batch=16)
    model = fit_mlp(versions, np.arange(64) % 2 == 0, np.ones(64), config, seed=0)
    save_mlp(model, tmp_path / "kept.pt")
    again = load_mlp(tmp_path / "kept.pt", config)
    np.testing.assert_array_equal(score_mlp(again, versions[0]), score_mlp(model, versions[0]))


def test_features_that_only_the_channel_moves_count_less():
    from voiceguard.training.mlp import MlpConfig, fit_mlp

    rng = np.random.default_rng(3)
    steady, noise = rng.standard_normal((200, 1)), [rng.standard_normal((200, 1)) for _ in range(3)]
    versions = [np.hstack([steady, one]).astype(np.float16) for one in noise]
    model = fit_mlp(versions, np.arange(200) % 2 == 0, np.ones(200), MlpConfig(epochs=1, batch=64), seed=0)
    assert model.gain[0] > 2 * model.gain[1]


def test_prepared_versions_are_kept(manifest, tmp_path):
    from voiceguard.training.corpus import Corpus, load_corpus
    from voiceguard.training.prepare import features_path, prepare

    whole = load_corpus(manifest)
    corpus = Corpus(whole.clips[:8], whole.sha256)
    prepare(corpus, tmp_path, [0], jobs=1)
    made = features_path(tmp_path, 0).stat().st_mtime_ns
    prepare(corpus, tmp_path, [0, 1], jobs=1)
    assert features_path(tmp_path, 0).stat().st_mtime_ns == made
    assert (tmp_path / "audio-1.npy").exists()
    with pytest.raises(ValueError, match="seed"):
        prepare(corpus, tmp_path, [0], seed=1, jobs=1)
