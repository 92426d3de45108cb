from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from voiceguard.audio import RATE_HZ
from voiceguard.features import analyse
from voiceguard.spectrogram import BINS, FRAMES_A_STEP, LOW_BIN, Heard, hear, hear_each, most_speech
from voiceguard.windows import SpeechWindow


def window(samples: np.ndarray, speech: np.ndarray | None = None) -> SpeechWindow:
    mask = np.ones(len(samples) // 80, dtype=bool) if speech is None else speech
    return SpeechWindow(0.0, len(samples) / RATE_HZ, samples.astype(np.float32), mask)


def hear_window(one: SpeechWindow) -> Heard:
    (heard,) = hear_each(analyse([one]))
    return heard


def babble(rng: np.random.Generator, size: int) -> np.ndarray:
    """Noise whose level swings as that of syllables does."""
    swing = 1 + np.sin(2 * np.pi * 4 * np.arange(size) / RATE_HZ)
    return 0.05 * rng.standard_normal(size) * swing


@settings(deadline=None)
@given(st.integers(80, 40_000), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_any_window_is_heard(size, seed, share):
    rng = np.random.default_rng(seed)
    spectrogram, weights = hear_window(window(babble(rng, size), rng.random(size // 80) < share))
    assert spectrogram.shape == (BINS, FRAMES_A_STEP * len(weights))
    assert spectrogram.shape[1] >= 60
    assert spectrogram.dtype == weights.dtype == np.float32
    assert np.isfinite(spectrogram).all()
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1, abs=1e-5)


def test_silence_is_heard():
    spectrogram, _ = hear_window(window(np.zeros(8000)))
    assert np.abs(spectrogram).max() < 1e-5


@pytest.mark.parametrize("gain", [0.01, 0.3, 10.0])
def test_level_does_not_count(rng, gain):
    samples = babble(rng, 16_000)
    np.testing.assert_allclose(
        hear_window(window(gain * samples))[0], hear_window(window(samples))[0], atol=1e-3
    )


def test_a_channel_hardly_counts(rng):
    samples = babble(rng, 32_000)
    tilted = scipy.signal.lfilter([1, -0.5], 1, samples)
    whole, other = (hear_window(window(one))[0] for one in (samples, tilted))
    assert np.abs(whole - other).mean() < 0.1 * np.abs(whole).mean()


def test_a_tone_is_at_its_bin(rng):
    # Swung, since what never changes is the channel.
    frequency_hz = 1000.0
    tone = np.sin(2 * np.pi * frequency_hz * np.arange(16_000) / RATE_HZ) * (np.arange(16_000) > 8000)
    spectrogram, _ = hear_window(window(tone + 1e-4 * rng.standard_normal(16_000)))
    rise = spectrogram[:, -20:].mean(axis=1) - spectrogram[:, :20].mean(axis=1)
    assert rise.argmax() == round(frequency_hz * 256 / RATE_HZ) - LOW_BIN


def test_only_speech_sets_the_mean_and_the_weights(rng):
    samples = babble(rng, 16_000)
    samples[8000:] *= 100
    speech = np.arange(200) < 100
    spectrogram, weights = hear_window(window(samples, speech))
    half = spectrogram.shape[1] // 2
    assert abs(spectrogram[:, : half - FRAMES_A_STEP].mean()) < 0.1
    assert weights[len(weights) // 2 + 1 :].sum() == 0


def test_windows_side_by_side_are_heard_as_alone(rng):
    several = [window(babble(rng, size)) for size in (500, 9000, 33_000)]
    for one, heard in zip(several, hear_each(analyse(several)), strict=True):
        for part, expected in zip(heard, hear_window(one), strict=True):
            np.testing.assert_array_equal(part, expected)


@given(st.integers(4, 600), st.integers(0, 2**32 - 1), st.floats(0, 1), st.floats(0.01, 1))
def test_no_other_stretch_has_more_speech(frames, seed, spoken, share):
    speech = np.random.default_rng(seed).random(frames) < spoken
    chosen = most_speech(speech, share)
    every, steps = frames // FRAMES_A_STEP, (chosen.stop - chosen.start) // FRAMES_A_STEP
    assert steps == min(max(round(share * every), 15), every)
    counts = speech[: every * FRAMES_A_STEP].reshape(every, -1).sum(axis=1)
    sums = np.convolve(counts, np.ones(steps, int), "valid")
    assert speech[chosen].sum() == sums.max()


def test_a_share_is_heard_as_that_stretch_alone(rng):
    frames = analyse([window(babble(rng, 32_000), np.arange(400) > 200)])
    part = most_speech(frames.speech, 0.5)
    assert part.start > 0
    expected = hear(frames.power[part], frames.speech[part])
    for found, wanted in zip(next(hear_each(frames, 0.5)), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
