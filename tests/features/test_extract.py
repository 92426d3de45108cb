from __future__ import annotations

import itertools

import numpy as np
import pytest

from voiceguard import features
from voiceguard.audio import RATE_HZ
from voiceguard.evidence.librosa_import import librosa
from voiceguard.features import FEATURE_SETS, extract, feature_names, features_sha256, spectrum
from voiceguard.features.spectrum import BANDS, COEFFICIENTS, HOP_SAMPLES, WINDOW_SAMPLES
from voiceguard.windows import SpeechWindow, cut_windows


def window_of(samples: np.ndarray) -> SpeechWindow:
    return SpeechWindow(0.0, len(samples) / RATE_HZ, samples, np.ones(len(samples) // 80, dtype=bool))


def test_power_spectrogram_equals_librosa(babble):
    expected = (
        np.abs(
            librosa().stft(
                babble,
                n_fft=WINDOW_SAMPLES,
                hop_length=HOP_SAMPLES,
                window="hann",
                center=False,
            )
        )
        ** 2
    )
    actual = spectrum.power_spectrogram(babble).T
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-6 * expected.max())


def test_cepstra_equal_scipy_reference_of_librosa(babble):
    power = spectrum.power_spectrogram(babble)
    log_bands = np.log(spectrum.band_powers(power) + 1e-9)
    expected = librosa().feature.mfcc(S=log_bands, n_mfcc=COEFFICIENTS + 1, dct_type=2, norm="ortho")
    actual = spectrum.cepstra(log_bands)
    np.testing.assert_allclose(actual, expected[1:], rtol=1e-3, atol=1e-3)


@pytest.mark.train
def test_power_spectrogram_equals_torchaudio(babble):
    import torch
    import torchaudio

    transform = torchaudio.transforms.Spectrogram(
        n_fft=WINDOW_SAMPLES, hop_length=HOP_SAMPLES, power=2, center=False
    )
    expected = transform(torch.from_numpy(babble)).numpy()
    actual = spectrum.power_spectrogram(babble).T
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-6 * expected.max())


@pytest.mark.train
def test_cepstra_equal_torchaudio(babble):
    import torch
    import torchaudio

    power = spectrum.power_spectrogram(babble)
    log_bands = np.log(spectrum.band_powers(power) + np.float32(1e-9))
    matrix = torchaudio.functional.create_dct(COEFFICIENTS + 1, BANDS, "ortho")
    expected = (torch.from_numpy(log_bands.T) @ matrix).numpy()[:, 1:].T
    np.testing.assert_allclose(spectrum.cepstra(log_bands), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.train
def test_bands_equal_torchaudio(babble):
    import torchaudio

    filters = torchaudio.functional.linear_fbanks(
        WINDOW_SAMPLES // 2 + 1,
        spectrum.BAND_LOW_HZ,
        spectrum.BAND_HIGH_HZ,
        BANDS,
        RATE_HZ,
    )
    power = spectrum.power_spectrogram(babble)
    expected = (power @ filters.numpy()).T
    np.testing.assert_allclose(spectrum.band_powers(power), expected, rtol=1e-3, atol=1e-6)


def test_flat_spectrum_spreads_evenly_over_bands():
    power = np.ones((3, WINDOW_SAMPLES // 2 + 1), np.float32)
    bands = spectrum.band_powers(power)
    assert bands.shape == (BANDS, 3)
    np.testing.assert_allclose(bands, bands.mean(), rtol=0.05)


def test_names_are_unique_and_one_a_column(babble):
    names = feature_names()
    assert len(set(names)) == len(names)
    assert extract([window_of(babble)]).shape == (1, len(names))


@pytest.mark.parametrize(("smaller", "larger"), [*itertools.pairwise(FEATURE_SETS)])
def test_a_set_is_the_first_columns_of_the_next(babble, smaller, larger):
    names, more = feature_names(smaller), feature_names(larger)
    assert more[: len(names)] == names
    window = window_of(babble)
    # Tracks go through the statistics together, and how many there are moves the last digits.
    np.testing.assert_allclose(
        extract([window], larger)[0, : len(names)], extract([window], smaller)[0], rtol=1e-3, atol=1e-4
    )
    assert features_sha256(smaller) != features_sha256(larger)


def test_correlations_of_cepstra_equal_numpy(babble):
    window = window_of(babble)
    samples = babble - babble.mean()
    power = spectrum.power_spectrogram(samples)
    floor = power.mean() * 10 ** (features.FLOOR_DB / 10) + 1e-16
    cepstra = spectrum.cepstra(np.log(spectrum.band_powers(power) + floor))
    first = cepstra[:, 2:] - cepstra[:, :-2]
    above = np.triu_indices(COEFFICIENTS, 1)
    row = dict(zip(feature_names(), extract([window])[0], strict=True))
    for name, tracks in (("statics", cepstra), ("d1x2", first), ("absolute", np.abs(first))):
        found = [row[f"lfcc.correlation.{name}.{index}"] for index in range(len(above[0]))]
        np.testing.assert_allclose(found, np.corrcoef(tracks)[above], atol=2e-3)
    later = [row[f"lfcc.correlation.d1x2_later2.{index}"] for index in range(features.JOINT_COEFFICIENTS**2)]
    chosen = first[: features.JOINT_COEFFICIENTS]
    expected = np.corrcoef(chosen[:, 2:], chosen[:, :-2])[len(chosen) :, : len(chosen)].T
    # The means and spreads are those of all frames, not of the shifted ones.
    np.testing.assert_allclose(np.reshape(later, expected.shape), expected, atol=0.05)


@pytest.mark.parametrize("set_", FEATURE_SETS)
def test_windows_do_not_influence_each_other(set_, babble, rng):
    lengths = (*rng.integers(2000, len(babble), features.WINDOWS_AT_ONCE), 300)
    starts = [rng.integers(len(babble) - length) for length in lengths]
    windows = [
        SpeechWindow(0.0, 1.0, babble[start : start + length], rng.random(length // 80) < 0.8)
        for start, length in zip(starts, lengths, strict=True)
    ]
    alone = np.concatenate([extract([window], set_) for window in windows])
    np.testing.assert_array_equal(extract(windows, set_), alone)


def test_level_does_not_matter(babble):
    loud, quiet = extract([window_of(babble), window_of(babble * np.float32(0.01))])
    np.testing.assert_allclose(loud, quiet, atol=0.02)


def test_offset_does_not_matter(babble):
    plain, shifted = extract([window_of(babble), window_of(babble + np.float32(0.05))])
    np.testing.assert_allclose(plain, shifted, atol=0.02)


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(16000, np.float32),
        np.ones(16000, np.float32),
        np.zeros(500, np.float32),
        np.sign(np.random.default_rng(1).standard_normal(8000)).astype(np.float32),
        np.concatenate([np.zeros(7999), [1.0]]).astype(np.float32),
    ],
    ids=["silence", "constant", "short", "full-scale", "click"],
)
def test_degenerate_audio_gives_finite_features(samples):
    assert np.isfinite(extract([window_of(samples)])).all()


def test_windows_hold_the_stated_seconds_of_speech(rng):
    samples = rng.standard_normal(60 * RATE_HZ).astype(np.float32)
    speech = np.repeat(rng.random(600) < 0.5, 10)
    windows = cut_windows(samples, speech)
    counted = [int(window.speech.sum()) for window in windows]
    assert counted[:-1] == [400] * (len(windows) - 1)
    assert 150 <= counted[-1] < 550
    assert sum(counted) == speech.sum()


def test_windows_lie_in_order_within_the_recording(rng):
    samples = rng.standard_normal(30 * RATE_HZ).astype(np.float32)
    speech = np.repeat(rng.random(300) < 0.6, 10)
    windows = cut_windows(samples, speech)
    for before, after in itertools.pairwise(windows):
        assert before.start_s < before.end_s <= after.start_s
    assert windows[-1].end_s <= 30


def test_window_leaves_long_pauses_out(babble):
    pause = np.zeros(20 * RATE_HZ, np.float32)
    half = len(babble) // 2 // 80 * 80
    samples = np.concatenate([babble[:half], pause, babble[half : 2 * half]])
    speech = np.zeros(len(samples) // 80, dtype=bool)
    speech[: half // 80] = True
    speech[-half // 80 :] = True
    (window,) = cut_windows(samples, speech, window_s=30)
    assert len(window.samples) / RATE_HZ < 2 * half / RATE_HZ + 0.5
    assert window.speech.sum() == speech.sum()


def test_no_speech_no_windows():
    assert cut_windows(np.zeros(8000, np.float32), np.zeros(100, dtype=bool)) == []
    assert extract([]).shape == (0, len(feature_names()))
