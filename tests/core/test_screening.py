from __future__ import annotations

import io
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile

from voiceguard.audio import RATE_HZ, decode
from voiceguard.errors import NoSuchChannel
from voiceguard.screening import Screener
from voiceguard.verdict import Reason, Verdict

SPEECH = "human-asterisk-en-ulaw.wav"


@pytest.fixture(scope="module")
def screener():
    return Screener.load()


def as_wav(*channels: np.ndarray) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.stack(channels, axis=1), RATE_HZ, format="WAV", subtype="PCM_16")
    return file.getvalue()


def test_result_is_complete_and_consistent(screener, audio_samples):
    screening = screener.screen(audio_samples / SPEECH)
    decision = screening.decision
    assert decision.score is not None
    assert 0 < decision.probability < 1
    assert decision.windows
    assert min(w.score for w in decision.windows) <= decision.score + 1.5
    assert sum(s.end_s - s.start_s for s in decision.speech) == pytest.approx(decision.quality.speech_s)
    assert all(0 <= w.start_s < w.end_s <= screening.duration_s + 0.01 for w in decision.windows)
    assert screening.codec == "g711_ulaw"
    assert screening.model == screener.model_id


def test_same_bytes_give_the_same_score_in_any_thread(screener, audio_samples):
    raw = (audio_samples / SPEECH).read_bytes()
    expected = screener.screen(raw).decision.score
    with ThreadPoolExecutor(4) as pool:
        scores = list(pool.map(lambda _: screener.screen(raw).decision.score, range(12)))
    assert scores == [expected] * 12


def test_score_does_not_depend_on_the_thread_count(screener, audio_samples):
    program = (
        "import sys; from pathlib import Path; from voiceguard.screening import Screener;"
        "print(repr(Screener.load().screen(Path(sys.argv[1])).decision.score))"
    )
    for threads in ("1", "2"):
        environment = os.environ | {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        command = [sys.executable, "-c", program, str(audio_samples / SPEECH)]
        found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert float(found.stdout) == pytest.approx(
            screener.screen(audio_samples / SPEECH).decision.score, abs=1e-6
        )


def test_channels_are_scored_apart(screener, audio_samples):
    speech = decode(audio_samples / SPEECH).channels[0]
    other = decode(audio_samples / "human-asterisk-it-alaw.wav").channels[0]
    length = min(len(speech), len(other))
    speech, other = speech[:length], other[:length]
    stereo = screener.screen(as_wav(speech, other))
    for channel, samples in zip(stereo.channels, (speech, other), strict=True):
        assert channel.score == screener.screen(as_wav(samples)).decision.score


def test_remote_channel_decides_where_it_is_named(screener, audio_samples):
    raw = (audio_samples / "dual-channel-bail-scam.wav").read_bytes()
    free = screener.screen(raw)
    assert free.deciding_channel == int(np.argmax([c.score for c in free.channels]))
    for channel in (0, 1):
        assert screener.screen(raw, remote_channel=channel).deciding_channel == channel
    with pytest.raises(NoSuchChannel, match="0 to 1"):
        screener.screen(raw, remote_channel=2)


def test_silent_channel_does_not_decide(screener, audio_samples):
    speech = decode(audio_samples / SPEECH).channels[0]
    screening = screener.screen(as_wav(np.zeros_like(speech), speech))
    assert screening.deciding_channel == 1
    assert screening.channels[0].reason is Reason.NO_SPEECH


@pytest.mark.parametrize(
    ("seconds", "reason"), [(0.0, Reason.NO_SPEECH), (1.2, Reason.TOO_LITTLE_SPEECH)], ids=["none", "little"]
)
def test_too_little_speech_abstains(screener, audio_samples, seconds, reason):
    speech = decode(audio_samples / SPEECH).channels[0]
    samples = np.zeros(10 * RATE_HZ, np.float32)
    samples[: int(seconds * RATE_HZ)] = speech[RATE_HZ : RATE_HZ + int(seconds * RATE_HZ)]
    decision = screener.screen(as_wav(samples)).decision
    assert (decision.verdict, decision.reason) == (Verdict.INCONCLUSIVE, reason)


def test_speech_in_overwhelming_noise_abstains(screener, audio_samples, rng):
    speech = decode(audio_samples / SPEECH).channels[0]
    noisy = 0.02 * speech + 0.02 * rng.standard_normal(len(speech)).astype(np.float32)
    decision = screener.screen(as_wav(noisy)).decision
    assert decision.verdict is Verdict.INCONCLUSIVE


def test_ringing_is_no_speech(screener, audio_samples):
    decision = screener.screen(audio_samples / "ringing-ulaw.wav").decision
    assert decision.reason is Reason.NO_SPEECH


def test_level_hardly_moves_the_score(screener, audio_samples):
    speech = decode(audio_samples / SPEECH).channels[0]
    scores = [screener.screen(as_wav(speech * gain)).decision.score for gain in (1.0, 0.3)]
    assert scores[0] == pytest.approx(scores[1], abs=0.5)


def test_narrowband_content_of_wideband_audio_decides(screener, audio_samples):
    import soxr

    speech = decode(audio_samples / SPEECH).channels[0]
    file = io.BytesIO()
    soundfile.write(file, soxr.resample(speech, RATE_HZ, 48000), 48000, format="WAV", subtype="PCM_24")
    wide = screener.screen(file.getvalue())
    assert wide.rate_hz == 48000
    assert wide.decision.score == pytest.approx(screener.screen(as_wav(speech)).decision.score, abs=0.6)
