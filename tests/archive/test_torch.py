"""Scores on a device of torch equal those without it; here on torch's CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from voiceguard.archive.progress import Progress
from voiceguard.archive.scan import ScanSettings, scan
from voiceguard.audio import decode
from voiceguard.cli import app
from voiceguard.features import FEATURE_SETS, LEAST_SAMPLES, FeatureSet, extract, feature_names
from voiceguard.screening import Screener
from voiceguard.vad import speech_frames
from voiceguard.windows import SpeechWindow, cut_windows


@pytest.fixture(scope="module")
def windows(audio_samples: Path) -> list[SpeechWindow]:
    """Windows of all lengths: of every sample clip, short ones, and what is hardly speech at all."""
    found: list[SpeechWindow] = []
    for clip in sorted(audio_samples.glob("*-*.*")):
        if clip.suffix != ".md":
            for channel in decode(clip).channels:
                found += cut_windows(channel, speech_frames(channel))
    rng = np.random.default_rng(7)
    for size in (800, LEAST_SAMPLES, 9000, 40_000):
        noise = (0.1 * rng.standard_normal(size)).astype(np.float32)
        found.append(SpeechWindow(0.0, 1.0, noise, rng.random(size // 80) < 0.5))
    found.append(SpeechWindow(0.0, 1.0, found[0].samples, np.zeros_like(found[0].speech)))
    return found


@pytest.mark.train
@pytest.mark.parametrize("features", FEATURE_SETS)
def test_features_are_those_of_serving(windows: list[SpeechWindow], features: FeatureSet):
    from voiceguard.archive.torch_features import BatchFeatures

    expected, found = extract(windows, features), BatchFeatures("cpu", features).extract(windows).numpy()
    assert found.shape == expected.shape
    # Signed square roots of skewness: the last digits of nothing are large beside it.
    rooted = np.array(["skewness" in name for name in feature_names(features)])
    np.testing.assert_allclose(found[:, ~rooted], expected[:, ~rooted], rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(found[:, rooted] ** 2, expected[:, rooted] ** 2, rtol=2e-3, atol=2e-3)


@pytest.mark.train
@pytest.mark.parametrize("model", [None, Path("light")])
def test_scores_are_those_of_serving(windows: list[SpeechWindow], model: Path | None):
    from voiceguard.archive.torch_detector import BatchDetector

    detector = Screener.load(model).detector
    found = BatchDetector(detector, "cpu").score(windows)
    assert np.abs(found - detector.score(windows)).max() < 1e-3


@pytest.mark.train
def test_scan_in_batches_gives_the_same_rows(archive: Path):
    expected = scan([str(archive)], None, ScanSettings(jobs=1), Progress())
    found = scan([str(archive)], None, ScanSettings(jobs=1, device="cpu"), Progress())
    assert found.verdicts == expected.verdicts
    assert found.errors == expected.errors
    for row, other in zip(found.rows, expected.rows, strict=True):
        assert (row.path, row.sha256, row.error, row.verdict) == (
            other.path,
            other.sha256,
            other.error,
            other.verdict,
        )
        assert row.score == pytest.approx(other.score, abs=1e-3)
        assert row.windows is None or [window.score for window in row.windows] == pytest.approx(
            [window.score for window in other.windows or ()], abs=1e-3
        )


def test_device_that_is_not_there_explains_itself(archive: Path):
    try:
        import torch
    except ModuleNotFoundError:
        said = "torch, which is not installed"
    else:
        if torch.cuda.is_available():
            pytest.skip("torch sees a GPU here")
        said = "torch sees none here"
    refused = CliRunner().invoke(app, ["scan", str(archive), "--device", "cuda"])
    assert refused.exit_code == 1
    assert said in refused.stderr
    assert "leave --device out" in refused.stderr
