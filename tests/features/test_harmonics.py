"""Periodicity by band, and pitch finer than a sample."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal

from voiceguard.audio import RATE_HZ
from voiceguard.features.excitation import Peak, autocorrelate, find_peak
from voiceguard.features.harmonics import (
    EDGES_HZ,
    LONG_WINDOW_SAMPLES,
    Harmonics,
    analyse,
    harmonic_blocks,
)
from voiceguard.features.spectrum import WINDOW_SAMPLES, Spectra, spectra
from voiceguard.vad import FRAME_SAMPLES

SECONDS = 2
WINDOWS_SAMPLES = (WINDOW_SAMPLES, LONG_WINDOW_SAMPLES)


def voice(pitch_hz: float, low_hz: float = 100, high_hz: float = 3900, wobble: float = 0.0) -> np.ndarray:
    """Sum of harmonics, their period moved by up to ``wobble`` of itself ten times a second."""
    time = np.arange(SECONDS * RATE_HZ) / RATE_HZ
    phase = 2 * np.pi * pitch_hz * (time + wobble / (20 * np.pi) * np.sin(20 * np.pi * time))
    numbers = np.arange(np.ceil(low_hz / pitch_hz), high_hz // pitch_hz + 1)
    return np.sin(phase * numbers[:, None]).sum(axis=0).astype(np.float32) / 50


def spectrum(samples: np.ndarray, size: int) -> tuple[Spectra, Peak]:
    frames = spectra([samples], [np.ones(len(samples) // FRAME_SAMPLES, dtype=bool)], size)
    return frames, find_peak(autocorrelate(frames.power))


def analysed(samples: np.ndarray, size: int) -> Harmonics:
    frames, peak = spectrum(samples, size)
    return analyse(frames.power, peak, frames.speech)


def values(samples: np.ndarray, size: int = 512) -> dict[str, float]:
    found: dict[str, float] = {}
    for block in harmonic_blocks(*spectrum(samples, size)):
        found |= zip(block.names(), block.values.ravel().tolist(), strict=True)
    return found


@pytest.mark.parametrize("size", WINDOWS_SAMPLES)
@pytest.mark.parametrize("pitch_hz", [101.3, 137.9, 214.4, 330.7])
def test_pitch_is_found_between_samples(size: int, pitch_hz: float):
    found = analysed(voice(pitch_hz), size)
    assert found.voiced.all()
    # So steady a voice repeats after two periods as well as after one.
    periods = np.exp(found.log_lag) * pitch_hz / RATE_HZ
    # Half a sample off would be 0.006 at the lowest pitch and 0.02 at the highest.
    np.testing.assert_allclose(periods / np.round(periods), 1, atol=0.004)


@pytest.mark.parametrize("size", WINDOWS_SAMPLES)
def test_periodic_bands_are_told_from_noisy_ones(size: int, rng: np.random.Generator):
    noise = rng.standard_normal(SECONDS * RATE_HZ)
    high = scipy.signal.sosfilt(
        scipy.signal.butter(8, 2000, "highpass", fs=RATE_HZ, output="sos"), noise
    ).astype(np.float32)
    share = analysed(voice(120, high_hz=1900) + high / 50, size).tracks[1:].mean(axis=1)
    centres = (np.array(EDGES_HZ[:-1]) + EDGES_HZ[1:]) / 2
    assert (share[centres < 1500] > 0.55).all()
    assert (share[centres > 2300] < 0.3).all()


def test_noise_has_no_voice(rng: np.random.Generator):
    found = analysed(rng.standard_normal(SECONDS * RATE_HZ).astype(np.float32), 512)
    assert found.voiced.mean() < 0.05


def test_a_trembling_voice_trembles_more():
    calm, trembling = (values(voice(140, wobble=wobble)) for wobble in (0.0, 0.02))
    name = "harmonics512.tremble.d1x1.log_spread"
    assert trembling[name] > calm[name] + 1


def test_without_voice_there_is_no_tremble():
    found = values(np.zeros(SECONDS * RATE_HZ, np.float32))
    assert {value for name, value in found.items() if ".tremble" in name} == {0.0}
    assert np.isfinite(list(found.values())).all()
