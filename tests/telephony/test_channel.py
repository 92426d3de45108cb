from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from voiceguard.telephony.channel import SEVERITIES, Channel, CodecPass, draw_channel


@pytest.mark.parametrize("severity", SEVERITIES)
def test_equal_seeds_give_equal_audio(severity, babble):
    one, other = (draw_channel(np.random.default_rng(5), severity) for _ in range(2))
    assert one == other
    np.testing.assert_array_equal(one.apply(babble), other.apply(babble))


@pytest.mark.parametrize("severity", SEVERITIES)
def test_every_channel_gives_finite_audio_of_the_same_length(severity, babble):
    for seed in range(40):
        channel = draw_channel(np.random.default_rng(seed), severity)
        heard = channel.apply(babble[:16000])
        assert heard.shape == (16000,), channel
        assert heard.dtype == np.float32
        assert np.isfinite(heard).all(), channel
        assert 0 < np.abs(heard).max() <= 1.1, channel


def test_silence_stays_harmless():
    for severity in SEVERITIES:
        for seed in range(10):
            heard = draw_channel(np.random.default_rng(seed), severity).apply(np.zeros(8000, np.float32))
            assert np.isfinite(heard).all()


def test_level_is_reached(babble):
    heard = Channel(seed=0, level_db=-26.0).apply(babble)
    power = (heard.reshape(-1, 160) ** 2).mean(axis=1)
    assert 10 * np.log10(power[power >= np.median(power)].mean()) == pytest.approx(-26, abs=0.1)


def test_band_pass_removes_what_lies_outside(babble):
    heard = Channel(seed=0, level_db=-20.0, band_hz=(300.0, 3400.0)).apply(babble)
    power = np.abs(np.fft.rfft(heard)) ** 2
    frequency_hz = np.fft.rfftfreq(len(heard), 1 / 8000)
    outside = power[(frequency_hz < 150) | (frequency_hz > 3800)].sum()
    assert outside / power.sum() < 5e-3


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0])
def test_noise_has_the_stated_power(snr_db, babble):
    clean = Channel(seed=1, level_db=-20.0).apply(babble)
    noisy = Channel(seed=1, level_db=-20.0, noise_snr_db=snr_db).apply(babble)
    scale = (noisy * clean).sum() / (clean**2).sum()
    noise = noisy - scale * clean
    measured_db = 10 * np.log10((scale * clean).var() / noise.var())
    assert measured_db == pytest.approx(snr_db, abs=1)


@pytest.mark.parametrize("loss", [0.01, 0.05, 0.2])
def test_packets_are_lost_at_the_stated_rate(loss):
    steady = np.full(160 * 20000, 0.1, np.float32) * np.tile([1, -1], 80 * 20000)
    channel = Channel(
        seed=3, level_db=-20.0, codecs=(CodecPass("g711_ulaw"),), packet_loss=loss, concealment=False
    )
    heard = channel.apply(steady.astype(np.float32))
    lost = (heard.reshape(-1, 160) == 0).all(axis=1).mean()
    assert lost == pytest.approx(loss, rel=0.2)


def test_concealment_leaves_no_holes(babble):
    channel = Channel(seed=3, level_db=-20.0, codecs=(CodecPass("g711_ulaw"),), packet_loss=0.2)
    silent = dataclasses.replace(channel, concealment=False)
    holes = [(c.apply(babble).reshape(-1, 160) == 0).all(axis=1).sum() for c in (channel, silent)]
    assert holes[0] < holes[1]


def test_reverberation_smears_over_time():
    click = np.zeros(8000, np.float32)
    click[1000] = 0.5
    heard = Channel(seed=0, level_db=-40.0, reverberation_s=0.4).apply(click)
    tail = np.abs(heard[1100:4000])
    assert tail.max() > 0.001 * np.abs(heard).max()
    early, late = tail[:800].mean(), tail[2000:2800].mean()
    assert early > 3 * late


def test_gain_control_evens_levels(babble):
    uneven = np.concatenate([babble, babble * np.float32(0.2)])
    heard = Channel(seed=0, level_db=-20.0, gain_control=True).apply(uneven)
    halves = [heard[: len(babble)].std(), heard[len(babble) :].std()]
    assert halves[0] / halves[1] < 2


def test_severities_differ_in_what_they_may_do():
    drawn = {s: [draw_channel(np.random.default_rng(seed), s) for seed in range(200)] for s in SEVERITIES}
    assert all(len(c.codecs) <= 1 and c.noise_snr_db is None for c in drawn["plain"] + drawn["mild"])
    assert any(len(c.codecs) > 1 for c in drawn["hard"])
    assert any(c.packet_loss for c in drawn["hard"])
    assert any(c.reverberation_s for c in drawn["hard"])
