from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from voiceguard.audio import RATE_HZ, decode
from voiceguard.detector import Detector, default_model_dir
from voiceguard.errors import ModelError
from voiceguard.explanation import (
    FAMILIES,
    HEARD,
    MAP_BANDS_HZ,
    family_masks,
    load_reference,
    map_window,
    weigh,
)
from voiceguard.features import extract, feature_names
from voiceguard.vad import FRAME_SAMPLES, speech_frames
from voiceguard.windows import SpeechWindow, cut_windows


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(default_model_dir())


@pytest.fixture(scope="module")
def windows(audio_samples: Path) -> list[SpeechWindow]:
    (samples,) = decode(audio_samples / "human-asterisk-en-ulaw.wav").channels
    return cut_windows(samples, speech_frames(samples))[:2]


def test_each_feature_is_in_one_family() -> None:
    assert family_masks().shape == (len(FAMILIES), len(feature_names()))
    assert (family_masks().sum(axis=0) == 1).all()


def test_a_weight_is_what_the_score_loses(detector: Detector, windows: list[SpeechWindow]) -> None:
    found = {cue.name: cue for cue in weigh(detector, windows)}
    assert set(found) == {family.name for family in (*FAMILIES, HEARD)}
    features = extract(windows)
    mean = load_reference(detector.folder).mean
    seconds = np.array([window.speech.sum() for window in windows]) * FRAME_SAMPLES / RATE_HZ
    index = [family.name for family in FAMILIES].index("rhythm")
    columns = [name.startswith("bands.modulation") for name in feature_names()]
    assert family_masks()[index].tolist() == columns
    features_without = features.copy()
    features_without[:, columns] = mean[columns]
    calibration = detector.record.calibration
    scores = [
        calibration.score(float(np.average(detector.score_features(one), weights=seconds)), seconds.sum())
        for one in (features, features_without)
    ]
    assert found["rhythm"].weight == pytest.approx(scores[0] - scores[1], abs=2e-3)


def test_the_network_weighs_what_it_adds_beyond_human_speech(
    detector: Detector, windows: list[SpeechWindow]
) -> None:
    found = {cue.name: cue for cue in weigh(detector, windows)}[HEARD.name]
    usual = load_reference(detector.folder).network
    assert usual is not None
    seconds = np.array([window.speech.sum() for window in windows]) * FRAME_SAMPLES / RATE_HZ
    added = float(np.average(detector.score_spectrograms(windows), weights=seconds))
    slope = detector.record.calibration.slope_at(float(seconds.sum()))
    assert found.weight == pytest.approx(slope * (added - usual), abs=2e-3)
    assert found.weight != 0


def test_weights_come_heaviest_first_with_the_range_of_human_speech(
    detector: Detector, windows: list[SpeechWindow]
) -> None:
    found = weigh(detector, windows)
    sizes = [abs(cue.weight) for cue in found]
    assert sizes == sorted(sizes, reverse=True)
    assert all(cue.human_low < cue.human_high for cue in found)


def test_mean_human_features_have_no_weight(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    mean = load_reference(detector.folder).mean
    monkeypatch.setattr(detector, "extract", lambda windows: np.stack([mean] * len(windows)))
    window = SpeechWindow(0.0, 4.0, np.zeros(4 * RATE_HZ, np.float32), np.ones(400, dtype=bool))
    assert all(cue.weight == 0 for cue in weigh(detector, [window]) if cue.name != HEARD.name)


def test_hushing_silence_changes_nothing(detector: Detector, windows: list[SpeechWindow]) -> None:
    # Nothing lies under 300 Hz of this window, so hushing that band can't move the score.
    from scipy.signal import butter, sosfiltfilt

    sections = butter(12, 600, "highpass", fs=RATE_HZ, output="sos")
    filtered = sosfiltfilt(sections, windows[0].samples).astype(np.float32)
    window = SpeechWindow(0.0, 4.0, filtered, windows[0].speech)
    found = map_window(detector, window)
    assert found.falls.shape == (len(MAP_BANDS_HZ) - 1, len(found.edges_s) - 1)
    assert np.isfinite(found.falls).all()
    assert np.abs(found.falls[0]).max() < 0.2 * np.abs(found.falls).max()
    assert found.edges_s[-1] == pytest.approx(len(window.samples) / RATE_HZ, abs=1e-3)


@pytest.mark.parametrize("content", [None, "{", json.dumps({"mean": [0.0], "ranges": {}})])
def test_a_broken_reference_is_a_model_error(detector: Detector, tmp_path: Path, content: str | None) -> None:
    shutil.copytree(detector.folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "reference.json").unlink()
    if content is not None:
        (tmp_path / "reference.json").write_text(content)
    with pytest.raises(ModelError):
        load_reference(tmp_path)
