"""Measure what a worker of a scan holds at most, by the length of the recording.

    python -m scripts.measure_scan_memory
    python -m scripts.measure_scan_memory --hours 0.5 10 --limit-mib 512

Each length is scanned by a process of its own; the figure is the largest resident memory that any of its workers
ever had, as the kernel counted it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from voiceguard.audio import RATE_HZ, decode

SAMPLE = Path(__file__).parents[1] / "audio_samples" / "human-asterisk-en-ulaw.wav"
_SCAN = """
import json, resource, sys
from voiceguard.archive.progress import Progress
from voiceguard.archive.scan import ScanSettings, scan
settings = ScanSettings(jobs=1, memory_limit_bytes=int(sys.argv[2]))
tally = scan([sys.argv[1]], None, settings, Progress())
print(json.dumps([resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, tally.rows[0].error]))
"""


@dataclass(frozen=True)
class Peak:
    """What a worker held at most, and what became of the recording."""

    mib: float
    error: str | None


def write_recording(path: Path, hours: float) -> None:
    """Write speech of that length as a G.711 µ-law WAV file."""
    speech = decode(SAMPLE).channels[0]
    minute = np.resize(speech, 60 * RATE_HZ)
    with soundfile.SoundFile(path, "w", RATE_HZ, 1, format="WAV", subtype="ULAW") as file:
        for _ in range(round(hours * 60)):
            file.write(minute)


def peak_of(path: Path, limit_mib: int) -> Peak:
    """Scan one recording in a process of its own."""
    command = [sys.executable, "-c", _SCAN, str(path), str(limit_mib << 20)]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    kib, error = json.loads(found.stdout)
    return Peak(kib / 1024, error)


def main() -> None:
    """Print a line for each length."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--hours", type=float, nargs="+", default=[0.02, 0.5, 1, 2, 4, 10])
    parser.add_argument("--limit-mib", type=int, default=4096)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.wav"
        for hours in asked.hours:
            write_recording(path, hours)
            peak = peak_of(path, asked.limit_mib)
            print(f"{hours:6.2f} h: {peak.mib:6.0f} MiB  {peak.error or ''}", flush=True)


if __name__ == "__main__":
    main()
