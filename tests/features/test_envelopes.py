"""What bands do within milliseconds."""

from __future__ import annotations

import numpy as np
import pytest

from voiceguard.audio import RATE_HZ
from voiceguard.features.envelopes import BANKS, NEARBY_FRAMES, Envelopes, envelope_blocks, follow
from voiceguard.features.spectrum import Spectra, spectra
from voiceguard.vad import FRAME_SAMPLES

SECONDS = 2


@pytest.fixture
def noise(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal(SECONDS * RATE_HZ).astype(np.float32) / 20


def pulses(noise: np.ndarray, every_ms: int) -> np.ndarray:
    """Bursts of noise, as a voice's pulses through a vocal tract."""
    place = np.arange(len(noise)) * 1000 / RATE_HZ % every_ms
    return noise * np.exp(-place).astype(np.float32)


def frames_of(samples: np.ndarray, bank: Envelopes) -> Spectra:
    speech = np.ones(len(samples) // FRAME_SAMPLES, dtype=bool)
    return spectra([samples], [speech], bank.window_samples, bank.hop_samples)


def values(samples: np.ndarray) -> dict[str, float]:
    speech = np.ones(len(samples) // FRAME_SAMPLES, dtype=bool)
    found: dict[str, float] = {}
    for block in envelope_blocks([samples], [speech]):
        found |= zip(block.names(), block.values.ravel().tolist(), strict=True)
    return found


@pytest.mark.parametrize("bank", BANKS, ids=lambda bank: bank.name)
def test_neither_line_nor_loudness_counts(bank: Envelopes, noise: np.ndarray, rng: np.random.Generator):
    frames = frames_of(noise, bank)
    power = frames.power
    # What a line does to each band; bands are of two bins.
    gains = np.repeat(10 ** rng.uniform(-1, 1, power.shape[1]), 2)[: power.shape[1] - bank.first_bin % 2]
    line = np.ones(power.shape[1], np.float32)
    line[bank.first_bin % 2 :] = gains
    tracks, through = follow(bank, frames), follow(bank, frames._replace(power=power * line))
    assert tracks.shape == (bank.bands, len(power))
    np.testing.assert_allclose(through, tracks, atol=0.02)


@pytest.mark.parametrize("bank", BANKS, ids=lambda bank: bank.name)
def test_a_step_of_level_is_forgotten(bank: Envelopes, noise: np.ndarray):
    louder = noise.copy()
    louder[len(noise) // 2 :] *= 10
    before, after = (follow(bank, frames_of(samples, bank)) for samples in (noise, louder))
    late = slice(before.shape[1] // 2 + 2 * NEARBY_FRAMES, None)
    np.testing.assert_allclose(after[:, late], before[:, late], atol=0.02)


def test_pulses_repeat_after_their_period(noise: np.ndarray):
    found = values(pulses(noise, every_ms=8))
    after = {lag: found[f"envelope4ms.autocorrelation.{lag}.3"] for lag in (4, 8, 12, 16)}
    assert min(after[8], after[16]) > 0.5
    assert max(after[4], after[12]) < 0


def test_bands_that_pulse_together_are_told_from_noise(noise: np.ndarray):
    def together(samples: np.ndarray) -> float:
        found = values(samples)
        return float(np.mean([value for name, value in found.items() if "4ms.correlation" in name]))

    assert together(pulses(noise, every_ms=8)) > together(noise) + 0.5
