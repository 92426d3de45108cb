from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from voiceguard.detector import Detector, default_model_dir, read_record
from voiceguard.errors import ModelError
from voiceguard.features import feature_names
from voiceguard.shipped import shipped
from voiceguard.windows import SpeechWindow


@pytest.fixture
def windows(rng):
    """Three windows of unlike lengths."""
    sizes = (9000, 20_000, 33_600)
    return [
        SpeechWindow(
            0.0, 1.0, (0.1 * rng.standard_normal(size)).astype(np.float32), rng.random(size // 80) < 0.8
        )
        for size in sizes
    ]


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(default_model_dir(), folder)
    return folder


def test_shipped_model_loads_and_scores(rng):
    detector = Detector(default_model_dir())
    features = rng.standard_normal((3, len(feature_names()))).astype(np.float32)
    assert np.isfinite(detector.score_features(features)).all()


def test_the_light_model_has_its_own_features_and_name(rng, monkeypatch):
    monkeypatch.setenv("VOICEGUARD_MODEL", "light")
    light, full = Detector(default_model_dir()), Detector(shipped("models"))
    assert (light.record.features, full.record.features) == ("light", "full")
    assert light.record.id != full.record.id
    features = rng.standard_normal((3, len(feature_names("light")))).astype(np.float32)
    assert np.isfinite(light.score_features(features)).all()


def test_record_without_features_is_one_of_the_light_set(model):
    record = json.loads((model / "model.json").read_text())
    del record["features"]
    (model / "model.json").write_text(json.dumps(record))
    assert read_record(model).features == "light"
    record["features"] = "heavy"
    (model / "model.json").write_text(json.dumps(record))
    with pytest.raises(ModelError, match="heavy"):
        read_record(model)


def test_batch_and_order_do_not_matter(rng):
    detector = Detector(default_model_dir())
    features = rng.standard_normal((8, len(feature_names()))).astype(np.float32)
    together = detector.score_features(features)
    order = rng.permutation(8)
    np.testing.assert_array_equal(detector.score_features(features[order]), together[order])
    alone = [detector.score_features(features[[row]])[0] for row in range(8)]
    np.testing.assert_array_equal(alone, together)


def test_the_network_adds_its_part(windows):
    detector, light = Detector(default_model_dir()), Detector(default_model_dir(Path("light")))
    parts = [one.score_spectrograms(windows) for one in (detector, light)]
    assert len(set(np.concatenate(parts))) == 2 * len(windows)
    for one, added in zip((detector, light), parts, strict=True):
        expected = one.score_features(one.extract(windows)) + added
        np.testing.assert_array_equal(one.score(windows), expected)


def test_windows_do_not_influence_each_other(windows):
    detector = Detector(default_model_dir())
    together = detector.score(windows)
    np.testing.assert_array_equal([detector.score([window])[0] for window in windows], together)
    np.testing.assert_array_equal(detector.score(windows[::-1]), together[::-1])


def test_model_without_a_network_scores_features_alone(model, windows):
    record = json.loads((model / "model.json").read_text())
    del record["network"]
    (model / "model.json").write_text(json.dumps(record))
    (model / "network.onnx").unlink()
    detector = Detector(model)
    np.testing.assert_array_equal(detector.score(windows), detector.score_features(detector.extract(windows)))


@pytest.mark.parametrize("name", ["detector.onnx", "network.onnx"])
def test_changed_graph_is_refused(model, name):
    path = model / name
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ModelError, match="SHA-256"):
        Detector(model)


def test_model_of_other_features_is_refused(model):
    record = json.loads((model / "model.json").read_text())
    record["features_sha256"] = "0" * 64
    (model / "model.json").write_text(json.dumps(record))
    with pytest.raises(ModelError, match="other features"):
        Detector(model)


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"schema": 99}'])
def test_incomplete_record_is_refused(model, text):
    (model / "model.json").write_text(text)
    with pytest.raises(ModelError):
        read_record(model)


@pytest.mark.parametrize("name", ["detector.onnx", "network.onnx"])
def test_missing_graph_is_refused(model, name):
    (model / name).unlink()
    with pytest.raises(ModelError, match=re.escape(name)):
        Detector(model)


def test_variable_names_the_model(model, monkeypatch):
    monkeypatch.setenv("VOICEGUARD_MODEL", str(model))
    assert default_model_dir() == model


def test_thresholds_are_in_order():
    calibration = read_record(default_model_dir()).calibration
    assert calibration.clear_threshold <= calibration.review_threshold <= calibration.flag_threshold
    assert calibration.slope > 0
