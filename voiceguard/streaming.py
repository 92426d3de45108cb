"""Deciding while the caller still talks: when to look at a running call, and what a look says.

A look is a screening of what has been received so far, by the very code that screens a file: the score of a look
is the one that ``screen`` would give had the call ended there, and the last look, at the end, is the file's. Looks
are few and ever further apart, so that together they cost a small multiple of one screening.

Looking often makes one error of many chances. A verdict before the end therefore needs more evidence than at the
end: a score past the threshold by ``Calibration.live_margin``. docs/live/README.md says how it was chosen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from voiceguard.audio import RATE_HZ
from voiceguard.screening import Screening
from voiceguard.vad import AGGRESSIVENESS
from voiceguard.verdict import Calibration, Verdict

LOOKS_AT_S = (3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0, 96.0, 128.0)
"""Seconds of speech at which a call is looked at; what comes later is heard at the end."""
MAX_LOOK_S = 600.0
"""A look hears at most this much, so that speech after an hour on hold is still judged in a moment."""
EARLIER = 1.1
"""A look that found nearly as much speech as the next one waits for stands for that one too."""
LEAST_STEP_S = 0.3
MAX_QUIET_S = 10.0
"""Speech too quiet for the count shows in a look at least this long after the last one."""
_PIECE_SAMPLES = RATE_HZ // 50


class SpeechClock:
    """Counts the speech in running audio, cheaply and roughly, and says when a look is due.

    webrtcvad marks what it hears without knowing the whole call's level, ringing and noise, as
    :func:`voiceguard.vad.speech_frames` does. What a look found corrects the count.
    """

    def __init__(self) -> None:
        import webrtcvad

        self._is_speech = webrtcvad.Vad(AGGRESSIVENESS).is_speech
        self._rest = b""
        self.counted_s = 0.0
        self.heard_s = 0.0
        self._due_counted_s = LOOKS_AT_S[0]
        self._due_heard_s = MAX_QUIET_S
        self._over = False

    def add(self, samples: np.ndarray, seconds: float) -> None:
        """Hear the next stretch: samples [shape=(n,), int16] at 8 kHz, or none where only the time is known."""
        self.heard_s += seconds
        if not len(samples):
            self.counted_s += seconds
            return
        raw = self._rest + samples.tobytes()
        size = 2 * _PIECE_SAMPLES
        whole = len(raw) - len(raw) % size
        for start in range(0, whole, size):
            if self._is_speech(raw[start : start + size], RATE_HZ):
                self.counted_s += _PIECE_SAMPLES / RATE_HZ
        self._rest = raw[whole:]

    @property
    def due(self) -> bool:
        """Whether it is time for a look."""
        enough = self.counted_s >= self._due_counted_s or self.heard_s >= self._due_heard_s
        return enough and not self._over

    def looked(self, speech_s: float, counted_s: float, heard_s: float) -> None:
        """Note that a look found ``speech_s`` where the clock stood at ``counted_s`` and ``heard_s``."""
        goal_s = next((goal for goal in LOOKS_AT_S if goal > speech_s * EARLIER), None)
        if goal_s is None:
            self._over = True
            return
        # Where little of what is counted is speech (noise, music), each look waits longer than the last.
        rate = min(max(counted_s / max(speech_s, 0.1), 0.5), 4.0)
        wasted_s = 0.25 * max(counted_s - 2 * speech_s, 0.0)
        self._due_counted_s = counted_s + max((goal_s - speech_s) * rate, LEAST_STEP_S, wasted_s)
        self._due_heard_s = heard_s + max(MAX_QUIET_S, 0.5 * heard_s)


@dataclass(frozen=True)
class Look:
    """What a look at a running call found."""

    speech_s: float
    score: float | None
    probability: float | None
    verdict: Verdict | None
    """The verdict that this much evidence allows before the end; None: keep listening."""


def look_at(screening: Screening, calibration: Calibration) -> Look:
    """Say what a screening of the call so far allows."""
    decision = screening.decision
    quality = decision.quality
    verdict = calibration.decide_early(
        decision.score, quality.speech_s, quality.snr_db, quality.clipped_share
    )
    return Look(quality.speech_s, decision.score, decision.probability, verdict)


class RunningVerdict:
    """The verdict announced so far.

    The first one stands, but for one revision: a call that began like a person's and then turns out synthetic.
    """

    def __init__(self) -> None:
        self.verdict: Verdict | None = None

    @property
    def final(self) -> bool:
        """Whether no look can change it any more."""
        return self.verdict is Verdict.SYNTHETIC

    def take(self, look: Look) -> bool:
        """Return whether this look's verdict is news."""
        if look.verdict is None or self.final or look.verdict is self.verdict:
            return False
        self.verdict = look.verdict
        return True
