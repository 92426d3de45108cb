from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voiceguard.telephony.codecs import (
    AMR_NB_BIT_RATES,
    CODECS,
    G726_BIT_RATES,
    amr_nb,
    g711_alaw,
    g711_ulaw,
    g726,
)

LEAST_SIMILARITY = {
    "g711_ulaw": 0.99,
    "g711_alaw": 0.99,
    "gsm": 0.9,
    "g726": 0.97,
    "amr_nb": 0.75,
    "g722": 0.95,
    "opus": 0.7,
    "mp3": 0.9,
}


def similarity(one: np.ndarray, other: np.ndarray) -> float:
    """Greatest normalised correlation over delays of up to 100 ms."""
    size = 2 * max(len(one), len(other))
    cross = np.fft.irfft(np.fft.rfft(one, size) * np.conj(np.fft.rfft(other, size)))
    near = np.concatenate([cross[:800], cross[-800:]])
    return float(np.abs(near).max() / np.sqrt((one**2).sum() * (other**2).sum()))


@pytest.mark.parametrize("name", CODECS)
def test_speech_survives_each_codec(name, babble):
    decoded = CODECS[name](babble)
    assert decoded.shape == babble.shape
    assert decoded.dtype == np.float32
    assert similarity(decoded, babble) > LEAST_SIMILARITY[name]
    assert not np.array_equal(decoded, babble)


@pytest.mark.parametrize("name", CODECS)
def test_codecs_are_deterministic(name, babble):
    np.testing.assert_array_equal(CODECS[name](babble[:8000]), CODECS[name](babble[:8000]))


@pytest.mark.parametrize("bit_rate", AMR_NB_BIT_RATES)
def test_amr_works_at_every_rate(bit_rate, babble):
    assert similarity(amr_nb(babble, bit_rate), babble) > 0.75


def test_more_bits_keep_more(babble):
    similarities = [similarity(g726(babble, bit_rate), babble) for bit_rate in G726_BIT_RATES]
    assert similarities == sorted(similarities)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=50))
def test_g711_keeps_sign_and_rough_size(values):
    samples = np.array(values, dtype=np.float32) / 32768
    for law in (g711_ulaw, g711_alaw):
        decoded = law(samples)
        np.testing.assert_allclose(decoded, samples, rtol=0.07, atol=0.002)
        np.testing.assert_array_equal(law(decoded), decoded)


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("length", [1, 159, 161, 1000])
def test_odd_lengths_keep_their_length(name, length, rng):
    samples = (0.1 * rng.standard_normal(length)).astype(np.float32)
    assert len(CODECS[name](samples)) == length
