from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceguard.audio import decode
from voiceguard.errors import InvalidFingerprint
from voiceguard.fingerprint import VERSION, Fingerprint, compute, match
from voiceguard.vad import speech_frames

SAMPLES = Path(__file__).parents[2] / "audio_samples"


def _print(samples: np.ndarray) -> Fingerprint:
    return compute(samples, speech_frames(samples))


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    path = sorted(SAMPLES.glob("synthetic-*"))[0]
    return decode(path).channels[0]


def test_fingerprint_survives_its_bytes(speech: np.ndarray) -> None:
    made = _print(speech)
    assert len(made.codes) > 25
    read = Fingerprint.from_bytes(made.to_bytes())
    for field in dataclasses.fields(Fingerprint):
        np.testing.assert_array_equal(getattr(read, field.name), getattr(made, field.name))
    assert read.to_bytes() == made.to_bytes()
    assert made.version == VERSION


def test_fingerprint_is_deterministic(speech: np.ndarray) -> None:
    assert _print(speech).to_bytes() == _print(speech.copy()).to_bytes()


@given(st.binary(max_size=200))
def test_strange_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidFingerprint):
        Fingerprint.from_bytes(data)


def test_recording_matches_itself(speech: np.ndarray) -> None:
    found = match(_print(speech), _print(speech))
    assert found is not None
    assert found.offset_s == 0
    assert found.score == 1
    assert found.tempo == 1


def test_no_speech_matches_nothing() -> None:
    silent = _print(np.zeros(80_000, np.float32))
    assert len(silent.keys()) == len(silent.query_keys()) == 0
    assert match(silent, silent) is None
