from __future__ import annotations

import numpy as np
import pytest

from voiceguard.audio import RATE_HZ, decode
from voiceguard.screening import Screener
from voiceguard.streaming import LOOKS_AT_S, Look, RunningVerdict, SpeechClock, look_at
from voiceguard.verdict import Calibration, Verdict

CALIBRATION = Calibration(
    offset=0, slope=1, slope_seconds=0, bound=8, flag_threshold=4, review_threshold=2, clear_threshold=-1,
    live_margin=0.5,
)  # fmt: skip


def hear(clock: SpeechClock, samples: np.ndarray, found_share: float) -> list[float]:
    """Play samples into a clock; return when it asked for looks, which find a share of what is counted."""
    looks = []
    pcm = (samples * 32767).astype(np.int16)
    for start in range(0, len(pcm), 800):
        clock.add(pcm[start : start + 800], 0.1)
        if clock.due:
            looks.append(start / RATE_HZ)
            clock.looked(found_share * clock.counted_s, clock.counted_s, clock.heard_s)
    return looks


@pytest.fixture(scope="module")
def speech(audio_samples):
    return decode(audio_samples / "human-asterisk-en-ulaw.wav").channels[0]


def test_looks_come_as_speech_does(speech):
    clock = SpeechClock()
    looks = hear(clock, speech, 1.0)
    assert clock.counted_s == pytest.approx(18.6, abs=2)
    assert len(looks) == sum(goal <= clock.counted_s for goal in LOOKS_AT_S)
    assert looks[0] == pytest.approx(3.5, abs=1)


def test_silence_is_looked_at_seldom():
    looks = hear(SpeechClock(), np.zeros(600 * RATE_HZ), 0.0)
    assert len(looks) <= 12


def test_noise_that_counts_as_speech_is_looked_at_ever_less(rng):
    looks = hear(SpeechClock(), 0.1 * rng.standard_normal(600 * RATE_HZ).clip(-3, 3), 0.0)
    assert len(looks) <= 40
    assert np.diff(looks)[-1] > 20


def test_after_the_last_look_none_is_due(speech):
    clock = SpeechClock()
    clock.looked(150.0, 150.0, 200.0)
    hear(clock, speech, 1.0)
    assert not clock.due


def test_audio_that_cannot_be_peeked_at_counts_by_its_length():
    clock = SpeechClock()
    for _ in range(30):
        clock.add(np.zeros(0, np.int16), 0.1)
    assert clock.due


@pytest.mark.parametrize(
    ("score", "speech_s", "snr_db", "verdict"),
    [
        (4.4, 4, 30, None),
        (4.5, 4, 30, Verdict.SYNTHETIC),
        (4.5, 1.9, 30, None),
        (4.5, 4, 1, None),
        (-1.4, 4, 30, None),
        (-1.5, 4, 30, Verdict.HUMAN),
        (None, 0.0, 0, None),
    ],
)
def test_an_early_verdict_needs_more_than_the_threshold(score, speech_s, snr_db, verdict):
    assert CALIBRATION.decide_early(score, speech_s, snr_db, 0.0) is verdict


def test_what_is_announced_changes_in_one_direction():
    running = RunningVerdict()
    human, synthetic, none = (
        Look(4, 0, 0.5, verdict) for verdict in (Verdict.HUMAN, Verdict.SYNTHETIC, None)
    )
    assert [running.take(look) for look in (none, human, human, synthetic, human)] == [
        False,
        True,
        False,
        True,
        False,
    ]
    assert running.final


def test_a_look_at_all_of_a_call_has_the_score_of_its_file(audio_samples):
    screener = Screener.load()
    screening = screener.screen(audio_samples / "synthetic-hibari-heart-flac.flac")
    look = look_at(screening, screener.calibration)
    assert (look.score, look.verdict) == (screening.decision.score, Verdict.SYNTHETIC)
