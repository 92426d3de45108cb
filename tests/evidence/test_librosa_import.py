from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MEASURE = """
import pathlib, sys
import numpy as np
from voiceguard.evidence.cues import measure_cues
from voiceguard.evidence.librosa_import import librosa
from voiceguard.vad import Segment
librosa()
cache = pathlib.Path(sys.argv[1])
compiled = {path: path.stat().st_mtime_ns for path in cache.rglob("*.nb?")}
assert compiled, f"nothing in {cache}"
tone = np.sin(2 * np.pi * 150 / 8000 * np.arange(16000)).astype(np.float32)
assert abs(measure_cues(tone, [Segment(0.0, 2.0)]).pitch_median_hz - 150) < 1
assert compiled == {path: path.stat().st_mtime_ns for path in cache.rglob("*.nb?")}, "compiled after the lock"
"""


@pytest.mark.slow
def test_processes_that_compile_at_once_leave_code_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "voiceguard" / "numba")]
    at_once = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(timeout=300) for process in at_once] == [0, 0, 0]
    assert subprocess.run(command, timeout=300, check=False).returncode == 0
