from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCREEN = """
import pathlib, sys
import numpy as np
from voiceguard.features import extract, feature_names
from voiceguard.windows import SpeechWindow
assert "numba" not in sys.modules
feature_names()
cache = pathlib.Path(sys.argv[1])
compiled = {path: path.stat().st_mtime_ns for path in cache.rglob("*.nb?")}
assert compiled, f"nothing in {cache}"
noise = np.random.default_rng(0).standard_normal(16000).astype(np.float32) / 20
assert np.isfinite(extract([SpeechWindow(0.0, 2.0, noise, np.ones(200, bool))])).all()
assert compiled == {path: path.stat().st_mtime_ns for path in cache.rglob("*.nb?")}, "compiled after the lock"
"""

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
@pytest.mark.parametrize("program", [SCREEN, MEASURE], ids=["loops", "librosa"])
def test_processes_that_compile_at_once_leave_code_that_runs(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    command = [sys.executable, "-c", program, str(tmp_path / "voiceguard" / "numba")]
    at_once = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(timeout=300) for process in at_once] == [0, 0, 0]
    assert subprocess.run(command, timeout=300, check=False).returncode == 0


def test_threads_that_call_at_once_wait_for_one_another() -> None:
    code = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "import numpy as np\n"
        "from voiceguard.features import loops\n"
        "values = np.arange(200, dtype=np.float32).reshape(2, 100)\n"
        "weights, bounds = np.ones((1, 100), np.float32), np.array([0, 50, 100])\n"
        "with ThreadPoolExecutor(8) as threads:\n"
        "    found = list(threads.map(lambda _: loops.moments(values, weights, bounds), range(16)))\n"
        "assert all((one == found[0]).all() for one in found)\n"
        "assert type(loops.moments).__name__ == 'CPUDispatcher'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_a_home_that_cannot_be_written_compiles_for_this_process_and_its_children(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    code = (
        "import os, pathlib\n"
        "from voiceguard.compiled import one_compiler\n"
        "with one_compiler():\n"
        "    folder = os.environ['NUMBA_CACHE_DIR']\n"
        "with one_compiler():\n"
        "    assert os.environ['NUMBA_CACHE_DIR'] == folder\n"
        "assert [path.name for path in pathlib.Path(folder).iterdir()] == ['lock']\n"
        "print(folder)\n"
    )
    for named in ("XDG_CACHE_HOME", "NUMBA_CACHE_DIR"):
        environment = {named: str(tmp_path / "file"), "PATH": "/usr/bin:/bin"}
        run = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            check=True,
            timeout=60,
            capture_output=True,
            text=True,
        )
        folder = Path(run.stdout.strip())
        assert folder.name.startswith("voiceguard-numba-")
        assert not folder.exists(), "left behind"
