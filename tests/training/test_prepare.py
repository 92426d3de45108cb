"""Versions of a clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from voiceguard.training.corpus import Clip
from voiceguard.training.prepare import FIRST_AT_OTHER_SPEED, MOST_LOG_SPEED, version_samples


def test_later_versions_are_faster_or_slower(tmp_path: Path) -> None:
    tone = np.sin(2 * np.pi * 1000 / 8000 * np.arange(16000)).astype(np.float32) / 2
    soundfile.write(tmp_path / "tone.flac", tone, 8000)
    fields = dict.fromkeys(Clip.__dataclass_fields__, "")
    clip = Clip(**{**fields, "id": "00ff", "path": tmp_path / "tone.flac"})

    def hertz(version: int) -> float:
        samples = version_samples(clip, version, 0)
        spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 2**17))
        return float(spectrum.argmax()) * 8000 / 2**17

    assert hertz(FIRST_AT_OTHER_SPEED - 1) == 1000
    changes = [
        np.log(hertz(version) / 1000) for version in range(FIRST_AT_OTHER_SPEED, FIRST_AT_OTHER_SPEED + 20)
    ]
    assert max(map(abs, changes)) < MOST_LOG_SPEED + 1e-3
    assert min(changes) < -0.04
    assert max(changes) > 0.04
    again = version_samples(clip, FIRST_AT_OTHER_SPEED, 0)
    np.testing.assert_array_equal(again, version_samples(clip, FIRST_AT_OTHER_SPEED, 0))
