from __future__ import annotations

import numpy as np
import pytest

from voiceguard.audio import RATE_HZ, decode
from voiceguard.vad import segments, speech_frames

SECONDS = np.arange(12 * RATE_HZ) / RATE_HZ


def tone(*frequencies_hz: float) -> np.ndarray:
    return 0.2 * sum(np.sin(2 * np.pi * frequency_hz * SECONDS) for frequency_hz in frequencies_hz)


NO_SPEECH = {
    "silence": np.zeros(len(SECONDS)),
    "offset": np.full(len(SECONDS), 0.2),
    "us-ringback": tone(440, 480) * (SECONDS % 6 < 2),
    "european-ringback": tone(425) * (SECONDS % 5 < 1),
    "busy": tone(480, 620) * (SECONDS % 1 < 0.5),
    "dial-tone": tone(350, 440),
    "voicemail-beep": tone(1000) * (SECONDS < 1),
    "dtmf-held": tone(770, 1336) * (SECONDS % 2 < 1),
    "hiss": 0.05 * np.random.default_rng(1).standard_normal(len(SECONDS)),
    "comfort-noise": 1e-3 * np.random.default_rng(2).standard_normal(len(SECONDS)),
    "hum": tone(60, 180),
}


@pytest.mark.parametrize("name", NO_SPEECH)
def test_what_is_no_speech_does_not_count(name):
    assert speech_frames(NO_SPEECH[name].astype(np.float32)).mean() < 0.1


@pytest.mark.parametrize("level", [1.0, 0.1, 0.01])
def test_speech_counts_at_any_level(audio_samples, level):
    samples = decode(audio_samples / "human-asterisk-en-ulaw.wav").channels[0]
    plain, scaled = speech_frames(samples), speech_frames(samples * np.float32(level))
    assert 0.6 < plain.mean() < 1
    assert (plain != scaled).mean() < 0.03


def test_pauses_around_speech_are_left_out(audio_samples):
    samples = decode(audio_samples / "human-asterisk-en-ulaw.wav").channels[0][: 5 * RATE_HZ]
    pause = 1e-4 * np.random.default_rng(3).standard_normal(5 * RATE_HZ).astype(np.float32)
    speech = speech_frames(np.concatenate([pause, samples, pause]))
    assert speech[:480].sum() == 0
    assert speech[520:980].mean() > 0.6
    assert speech[1020:].sum() == 0


@pytest.mark.parametrize("length", [0, 1, 79, 80, 81, 4000])
def test_any_length_gives_one_mark_a_frame(length, rng):
    assert speech_frames(rng.standard_normal(length).astype(np.float32)).shape == (length // 80,)


def test_segments_are_the_runs_of_the_mask():
    mask = np.array([0, 1, 1, 0, 0, 1], dtype=bool)
    assert [(s.start_s, s.end_s) for s in segments(mask)] == [(0.01, 0.03), (0.05, 0.06)]
    assert segments(np.zeros(5, dtype=bool)) == ()
