from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

_FAULTS = """
import resource
import sys

import numpy as np

from voiceguard.processes import keep_memory

if sys.argv[1] == "keep":
    keep_memory()
for round in range(6):
    if round == 2:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [np.ones(400_000) for _ in range(8)]
    del arrays
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc")
def test_memory_is_kept_for_the_next_recording() -> None:
    given_back, kept = (
        int(
            subprocess.run(
                [sys.executable, "-c", _FAULTS, how], capture_output=True, text=True, check=True, timeout=60
            ).stdout
        )
        for how in ("give back", "keep")
    )
    assert given_back > 1000
    assert kept < 100
