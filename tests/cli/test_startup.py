from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

SLOW_TO_IMPORT = {
    "torch", "torchaudio", "librosa", "numba", "onnxruntime", "numpy", "scipy", "av", "soundfile", "matplotlib",
    "pyarrow", "fastapi", "sqlalchemy", "uvicorn", "rich",
}  # fmt: skip
GENEROUS_S = 2.0
"""Four times what is promised: the tests share the machine."""


def modules_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after running code."""
    code += "\nimport json, sys; print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(run.stdout.splitlines()[-1]))


@pytest.mark.parametrize("words", [["--help"], ["scan", "--help"], ["screen", "--help"], ["--version"]])
def test_help_loads_nothing_slow(words: list[str]):
    code = f"""
import sys
sys.argv = ["voiceguard", *{words!r}]
try:
    from voiceguard.cli import main
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
"""
    assert not modules_after(code) & SLOW_TO_IMPORT


def test_import_loads_nothing_slow():
    assert not modules_after("import voiceguard") & SLOW_TO_IMPORT


def test_help_is_quick():
    times_s = []
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "voiceguard", "--help"], capture_output=True, check=True)
        times_s.append(time.perf_counter() - began)
    assert min(times_s) < GENEROUS_S
