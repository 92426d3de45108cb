"""The whole recipe on a small corpus made here: prepare, cross-fold, calibrate, export, report."""

from __future__ import annotations

import csv
import dataclasses

import numpy as np
import pytest
import soundfile

pytestmark = pytest.mark.train


def voice(rng: np.random.Generator, synthetic: bool) -> np.ndarray:
    """Three seconds of pulses; the synthetic ones lack the jitter from period to period."""
    pitch_hz = rng.uniform(90, 220)
    jitter = 0.0 if synthetic else 0.03
    samples = np.zeros(24000, np.float32)
    position = 0.0
    while position < len(samples) - 1:
        samples[int(position)] = 1
        position += 8000 / pitch_hz * (1 + jitter * rng.standard_normal())
    for formant_hz in (500, 1500, 2500):
        formant_hz *= rng.uniform(0.9, 1.1)
        pole = 0.97 * np.exp(2j * np.pi * formant_hz / 8000)
        import scipy.signal

        samples = scipy.signal.lfilter([1], [1, -2 * pole.real, abs(pole) ** 2], samples)
    envelope = np.clip(np.sin(2 * np.pi * 3 * np.arange(24000) / 8000) + 0.8, 0, None)
    samples = samples * envelope + 1e-3 * rng.standard_normal(24000)
    return (0.5 * samples / np.abs(samples).max()).astype(np.float32)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(7)
    rows = []
    for number in range(160):
        synthetic = number % 2 == 0
        name = f"{number}.flac"
        soundfile.write(folder / name, voice(rng, synthetic), 8000)
        rows.append(
            {
                "id": f"{number:016x}",
                "path": name,
                "label": "spoof" if synthetic else "bonafide",
                "fold": number // 32,
                "group": f"g{number // 4}",
                "kind": "tts" if synthetic else "human",
                "source": "wild",
                "engine": f"engine{number // 8}" if synthetic else "",
                "page": f"page{number // 8}",
                "speaker": "",
                "language": "en",
                "style": "2026",
                "seconds": "3.0",
            }
        )
    path = folder / "manifest.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_recipe_learns_and_the_exported_model_screens(manifest, tmp_path):
    from voiceguard.detector import Detector
    from voiceguard.training.calibrate import fit_calibration
    from voiceguard.training.card import write_card
    from voiceguard.training.corpus import clip_weights, load_corpus
    from voiceguard.training.crossfold import cross_fold, load_versions
    from voiceguard.training.export import export_ensemble, write_model
    from voiceguard.training.mlp import MlpConfig, fit_mlp, score_mlp
    from voiceguard.training.prepare import prepare
    from voiceguard.training.report import make_report

    corpus = load_corpus(manifest)
    prepare(corpus, tmp_path, [0, 1, 2], jobs=1)
    config = MlpConfig(hidden=(32, 8), epochs=12, batch=32)
    result = cross_fold(corpus, tmp_path, [0, 1, 2], config, members=1)
    report = make_report(corpus, result, tmp_path)
    plain = report.tables["Clips of 3–4 s from wild pages, by channel"][0]
    assert plain.auc > 0.9
    assert "plain" in report.to_markdown()
    calibration = fit_calibration(corpus, result)
    assert calibration.slope > 0

    again = cross_fold(corpus, tmp_path, [0, 1, 2], config, members=1)
    np.testing.assert_allclose(again.scores["plain"], result.scores["plain"], atol=1e-4)

    features = load_versions(tmp_path, [0, 1, 2])
    members = [
        fit_mlp(features, corpus.column("synthetic"), clip_weights(corpus), config, seed) for seed in (0, 1)
    ]
    out = tmp_path / "model"
    write_model(out, "test", export_ensemble(members), calibration)
    write_card(
        out, "test", calibration, report, {"members": 2, "clips": 160, "corpus_sha256": "", "versions": 3}
    )
    rows = features[0][:20]
    expected = np.mean([score_mlp(member, rows) for member in members], axis=0)
    actual = Detector(out).score_features(rows.astype(np.float32))
    np.testing.assert_allclose(actual, expected, atol=0.01)
    assert dataclasses.asdict(calibration)


def test_prepared_versions_are_kept(manifest, tmp_path):
    from voiceguard.training.corpus import Corpus, load_corpus
    from voiceguard.training.prepare import prepare

    whole = load_corpus(manifest)
    corpus = Corpus(whole.clips[:8], whole.sha256)
    prepare(corpus, tmp_path, [0], jobs=1)
    made = (tmp_path / "features-0.npy").stat().st_mtime_ns
    prepare(corpus, tmp_path, [0, 1], jobs=1)
    assert (tmp_path / "features-0.npy").stat().st_mtime_ns == made
    assert (tmp_path / "audio-1.npy").exists()
