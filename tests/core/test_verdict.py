from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceguard.verdict import Calibration, Reason, Verdict

CALIBRATION = Calibration(
    offset=0.1,
    slope=1.2,
    slope_seconds=0.2,
    bound=7.0,
    flag_threshold=4.0,
    review_threshold=2.5,
    clear_threshold=-1.0,
)


@pytest.mark.parametrize(
    ("score", "speech_s", "snr_db", "clipped", "expected"),
    [
        (None, 0.0, 0.0, 0.0, (Verdict.INCONCLUSIVE, Reason.NO_SPEECH)),
        (None, 0.5, 30.0, 0.0, (Verdict.INCONCLUSIVE, Reason.TOO_LITTLE_SPEECH)),
        (6.0, 1.9, 30.0, 0.0, (Verdict.INCONCLUSIVE, Reason.TOO_LITTLE_SPEECH)),
        (6.0, 9.0, 1.0, 0.0, (Verdict.INCONCLUSIVE, Reason.POOR_QUALITY)),
        (6.0, 9.0, 30.0, 0.2, (Verdict.INCONCLUSIVE, Reason.POOR_QUALITY)),
        (4.0, 9.0, 30.0, 0.0, (Verdict.SYNTHETIC, None)),
        (3.99, 9.0, 30.0, 0.0, (Verdict.INCONCLUSIVE, Reason.NEAR_THRESHOLD)),
        (-0.9, 9.0, 30.0, 0.0, (Verdict.INCONCLUSIVE, Reason.NEAR_THRESHOLD)),
        (-1.0, 9.0, 30.0, 0.0, (Verdict.HUMAN, None)),
    ],
)
def test_verdict_and_reason(score, speech_s, snr_db, clipped, expected):
    assert CALIBRATION.decide(score, speech_s, snr_db, clipped) == expected


@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(0, 1e5))
def test_score_rises_with_the_raw_score_and_is_bounded(one, other, speech_s):
    low, high = sorted([one, other])
    assert CALIBRATION.score(low, speech_s) <= CALIBRATION.score(high, speech_s)
    assert abs(CALIBRATION.score(one, speech_s)) <= CALIBRATION.bound


@given(st.floats(0.1, 3), st.floats(2, 16))
def test_longer_speech_says_more(raw, speech_s):
    assert CALIBRATION.score(raw, 2 * speech_s) >= CALIBRATION.score(raw, speech_s)


def test_probability_is_the_posterior_at_the_prior():
    assert CALIBRATION.probability(0.0) == pytest.approx(0.01)
    assert CALIBRATION.probability(math.log(99)) == pytest.approx(0.5)
