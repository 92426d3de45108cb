from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from voiceguard.audio import RATE_HZ, decode
from voiceguard.evidence.cues import MAX_MEASURED_S, Cues, measure_cues, readings
from voiceguard.vad import Segment, segments, speech_frames

SECONDS = 4.0
WHOLE = (Segment(0.0, SECONDS),)


def voice(pitch_hz: np.ndarray | float) -> np.ndarray:
    """A steady voice with falling harmonics at the given pitch, shape (n,)."""
    pitch_hz = np.broadcast_to(pitch_hz, int(SECONDS * RATE_HZ))
    phase = 2 * np.pi * np.cumsum(pitch_hz) / RATE_HZ
    return (0.1 * sum(np.sin(k * phase) / k for k in range(1, 8))).astype(np.float32)


@pytest.mark.parametrize("pitch_hz", [85.0, 130.0, 220.0, 350.0])
def test_steady_pitch(pitch_hz: float):
    cues = measure_cues(voice(pitch_hz), WHOLE)
    assert cues.pitch_median_hz == pytest.approx(pitch_hz, rel=0.01)
    assert cues.pitch_range_semitones < 0.3
    assert cues.voiced_share > 0.98
    assert cues.level_variation_db < 0.2


def test_gliding_pitch_has_its_range_and_movement():
    # An octave in four seconds: 3 semitones a second, and nine tenths of it between the percentiles.
    glide = voice(110.0 * 2 ** (np.arange(int(SECONDS * RATE_HZ)) / RATE_HZ / SECONDS))
    cues = measure_cues(glide, WHOLE)
    assert cues.pitch_range_semitones == pytest.approx(0.9 * 12, abs=0.4)
    assert cues.pitch_movement_semitones_per_s == pytest.approx(3.0, rel=0.2)


def test_noise_is_flat_wide_and_unvoiced(rng: np.random.Generator):
    noise = (0.1 * rng.standard_normal(int(SECONDS * RATE_HZ))).astype(np.float32)
    cues = measure_cues(noise, WHOLE)
    assert cues.flatness_db > -3
    assert cues.roll_off_hz > 3500
    assert cues.voiced_share < 0.05
    assert cues.pitch_median_hz is None
    assert measure_cues(voice(150.0), WHOLE).flatness_db < -20


def test_pauses():
    # Speech of 1 s, gaps of 0.5 s; the gap of 30 ms and that of 10 s are no pauses.
    starts = [0.0, 1.5, 3.0, 4.5, 6.0, 7.03, 18.03]
    speech = [Segment(start, start + 1.0) for start in starts]
    samples = np.tile(voice(150.0), 5)
    cues = measure_cues(samples, speech)
    assert cues.pause_median_s == pytest.approx(0.5)
    assert cues.pauses_per_minute == pytest.approx(4 / 9 * 60, rel=1e-3)
    assert cues.pause_variation == pytest.approx(0.0, abs=1e-6)


def test_level_variation():
    swell = voice(150.0) * np.repeat([1.0, 0.1], int(SECONDS * RATE_HZ) // 2).astype(np.float32)
    assert measure_cues(swell, WHOLE).level_variation_db == pytest.approx(10.0, abs=0.1)


@pytest.mark.parametrize("speech", [(), (Segment(0.0, 0.3),), (Segment(3.98, 4.0),)])
def test_too_little_speech_measures_nothing(speech: tuple[Segment, ...]):
    cues = measure_cues(voice(150.0), speech)
    assert cues.measured_s <= 0.3
    assert all(reading.value is None for reading in readings(cues))


def test_long_speech_costs_no_more():
    samples = np.tile(voice(150.0), 20)
    assert measure_cues(samples, (Segment(0.0, 20 * SECONDS),)).measured_s == MAX_MEASURED_S


def test_every_cue_has_a_name_for_people():
    names = {field.name for field in dataclasses.fields(Cues)} - {"measured_s"}
    found = readings(Cues(0.0))
    assert len({reading.label for reading in found}) == len(names)
    assert not {reading.label for reading in found} & names


def test_real_voices(audio_samples):
    for clip in sorted(audio_samples.glob("*-ulaw.wav")):
        for samples in decode(clip).channels:
            speech = segments(speech_frames(samples))
            cues = measure_cues(samples, speech)
            assert cues == measure_cues(samples, speech)
            if cues.measured_s > 2:
                assert 70 < cues.pitch_median_hz < 300
                assert 0.3 < cues.voiced_share <= 1
                assert 1000 < cues.roll_off_hz < 4000


def test_every_cue_is_documented():
    page = (Path(__file__).parents[2] / "docs" / "screen-a-file.md").read_text(encoding="utf-8")
    for reading in readings(Cues(0.0)):
        assert f"| {reading.label} |" in page
