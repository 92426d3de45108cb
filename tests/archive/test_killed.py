"""A scan that is killed, at any moment, and started again."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from voiceguard.audio import RATE_HZ

FILES = 240
KILLS = 8


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, speech_pieces: list) -> Path:
    """Short files, each another, some broken."""
    root = tmp_path_factory.mktemp("many")
    for index in range(FILES):
        piece = speech_pieces[index % len(speech_pieces)][index:]
        path = root / f"{index * 7919 % FILES:04}.wav"
        soundfile.write(path, piece, RATE_HZ, subtype="ULAW")
        if index % 20 == 0:
            path.write_bytes(path.read_bytes()[: index % 60])
    return root


def start(folder: Path, output: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "voiceguard", "scan", str(folder), "-o", str(output), "--jobs", "2"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_killed_scan_ends_like_an_undisturbed_one(many: Path, tmp_path: Path, suffix: str):
    expected, output = tmp_path / f"undisturbed{suffix}", tmp_path / f"killed{suffix}"
    undisturbed = start(many, expected)
    undisturbed.communicate()
    assert undisturbed.returncode == 1, "some files are broken"
    rng = random.Random(suffix)
    resumed, kills = 0, 0
    while kills < KILLS:
        scan = start(many, output)
        assert scan.stderr is not None
        # The first line comes when the detector is loaded and the files are found: from there on a random time.
        resumed += scan.stderr.readline().startswith("Going on")
        try:
            scan.communicate(timeout=rng.uniform(0.05, 2.5))
            break
        except subprocess.TimeoutExpired:
            scan.send_signal(signal.SIGKILL)
            scan.communicate()
            kills += 1
    assert kills, "the scan ended before it could be killed"
    assert resumed, "no kill came after the first results were on disk"
    last = start(many, output)
    last.communicate()
    assert last.returncode == 1
    assert output.read_bytes() == expected.read_bytes()
    assert sorted(tmp_path.iterdir()) == sorted([expected, output])


def test_stop_by_a_service_manager(many: Path, tmp_path: Path):
    output = tmp_path / "out.csv"
    scan = start(many, output)
    assert scan.stderr is not None
    scan.stderr.readline()
    scan.terminate()
    _, said = scan.communicate()
    assert scan.returncode == 128 + signal.SIGTERM
    assert "The same command goes on from here." in said
    assert not output.exists()
