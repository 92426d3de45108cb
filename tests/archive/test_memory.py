"""What a worker may hold is bounded, however long the recording is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from scripts.measure_scan_memory import peak_of, write_recording

LOADED_MIB = 400
"""More than the loaded detector and its libraries take."""

linux = pytest.mark.skipif(sys.platform != "linux", reason="macOS does not keep memory limits")


@linux
@pytest.mark.slow
@pytest.mark.parametrize(
    ("hours", "limit_mib", "codes"),
    [(10.0, 1024, {"recording_too_long"}), (2.0, 384, {"out_of_memory", "recording_too_large"})],
)
def test_long_recording_is_a_row_within_the_limit(
    tmp_path: Path, hours: float, limit_mib: int, codes: set[str]
):
    path = tmp_path / "long.wav"
    write_recording(path, hours)
    peak = peak_of(path, limit_mib)
    assert peak.error is not None
    assert peak.error.split(":")[0] in codes
    assert peak.mib < LOADED_MIB + limit_mib


@linux
def test_recording_of_minutes_needs_little(tmp_path: Path):
    path = tmp_path / "short.wav"
    write_recording(path, 0.1)
    peak = peak_of(path, LOADED_MIB)
    assert peak.error is None
    assert peak.mib < LOADED_MIB
