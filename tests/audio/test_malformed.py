"""Strangers' bytes decode or raise AudioError: no crash, no hang, no noise, bounded memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.audio.encode import examples
from tests.audio.malformed import malformed_files
from voiceguard.audio import Limits, Recording, decode
from voiceguard.errors import AudioError

ROOT = Path(__file__).parents[2]
MAGICS = (
    b"RIFF\xff\xff\xff\xffWAVEfmt \x10\x00\x00\x00", b"RIFX\x00\x00\x00\x00WAVE", b"OggS\x00\x02", b"fLaC\x00",
    b"caff\x00\x01\x00\x00desc", b".snd\x00\x00\x00\x18", b"FORM\x00\x00\x00\x00AIFFCOMM", b"#!AMR\n", b"#!AMR-WB\n",
    b"\x1aE\xdf\xa3", b"\x00\x00\x00\x18ftypM4A ", b"ID3\x04\x00\x00\x00\x00\x00\x00\xff\xfb", b"\xff\xf1",
    b"riff\x2e\x91\xcf\x11", b"#!iLBC30\n", b"",
)  # fmt: skip
NAMES = ("a.wav", "a.ulaw", "a.alaw", "a.gsm", "a.sln16", "a.g722", "a.g729", "a.g726-24", "a.pcm", "a", "")


def outcome(data: bytes, name: str) -> Recording | AudioError:
    try:
        return decode(data, name=name, limits=Limits(max_duration_s=60))
    except AudioError as error:
        return error


def test_five_hundred_malformed_files():
    """In a process of its own, so that a crash of a C library fails this test and not the run."""
    result = subprocess.run(
        [sys.executable, "-m", "tests.audio.malformed", "20240208", "500"],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, "")
    report = json.loads(result.stdout)
    outcomes = report["outcomes"]
    assert sum(outcomes.values()) == 500
    assert {"decoded", "damaged_recording", "empty_recording", "unsupported_format"} <= set(outcomes)
    assert report["slowest_s"] < 10
    assert report["peak_mib"] < 300


def test_same_seed_same_files():
    assert list(malformed_files(3, 20)) == list(malformed_files(3, 20))
    assert list(malformed_files(3, 20)) != list(malformed_files(4, 20))


@given(st.sampled_from(MAGICS), st.binary(max_size=400), st.sampled_from(NAMES))
@example(b"", b"\xff\xfb\x90\x00" * 100, "a.ulaw")
@example(b"", b"\x00" * 33, "a.gsm")
@example(b"", b"<!--" * 100, "a.wav")
@settings(deadline=None, max_examples=300, derandomize=True)
def test_any_bytes(magic, rest, name):
    result = outcome(magic + rest, name)
    if isinstance(result, Recording):
        assert result.duration_s > 0
    else:
        assert str(result).startswith("Expected ")


def test_truncation_at_every_place_of_a_header():
    for original in examples(0.5):
        for length in range(0, 120, 3):
            result = outcome(original.data[:length], original.name)
            assert isinstance(result, Recording) or str(result).startswith("Expected ")
