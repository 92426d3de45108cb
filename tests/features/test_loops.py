"""Compiled loops against plain numpy and scipy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.linalg
import scipy.ndimage
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from voiceguard.features import loops

SIZES = st.tuples(st.integers(1, 9), st.integers(40, 300), st.integers(0, 2**31))
STEPS = (1, 2, 4, 8)


def tracks_and_weights(size: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    quantities, frames, seed = size
    rng = np.random.default_rng(seed)
    tracks = rng.standard_normal((quantities, frames)).cumsum(axis=1).astype(np.float32)
    weights = (rng.random(frames) < 0.7).astype(np.float32)
    weights[len(weights) // 2 :][:6] = 1
    return tracks, weights


def expected_moments(values: np.ndarray) -> np.ndarray:
    values = values.astype(np.float64)
    spread = values.std(axis=1)
    skewness = scipy.stats.skew(values, axis=1)
    kurtosis = np.maximum(scipy.stats.kurtosis(values, axis=1, fisher=False), 1)
    off = np.abs(values - values.mean(axis=1, keepdims=True)).mean(axis=1)
    return np.stack(
        [np.log(spread), np.sign(skewness) * np.sqrt(np.abs(skewness)), np.log(kurtosis), off / spread]
    )


@given(SIZES)
@settings(max_examples=30, deadline=None)
def test_moments(size: tuple[int, int, int]):
    tracks, weights = tracks_and_weights(size)
    found = loops.moments(tracks, weights[None])
    np.testing.assert_allclose(found, expected_moments(tracks[:, weights > 0]), atol=0.01)
    each = loops.moments(tracks, np.tile(weights, (len(tracks), 1)))
    np.testing.assert_array_equal(each, found)


@given(SIZES)
@settings(max_examples=30, deadline=None)
def test_moments_of_differences(size: tuple[int, int, int]):
    tracks, weights = tracks_and_weights(size)
    found = loops.moments_of_differences(tracks, weights, np.array(STEPS))
    for step, (first, second) in zip(STEPS, found, strict=True):
        difference = tracks[:, step:] - tracks[:, :-step]
        counts = weights[step // 2 :][: difference.shape[1]] > 0
        np.testing.assert_allclose(first, expected_moments(difference[:, counts]), atol=0.01)
        difference = difference[:, step:] - difference[:, :-step]
        counts = weights[step:-step] > 0
        np.testing.assert_allclose(second, expected_moments(difference[:, counts]), atol=0.01)


@given(SIZES)
@settings(max_examples=30, deadline=None)
def test_rows_against_one_another(size: tuple[int, int, int]):
    tracks, weights = tracks_and_weights(size)
    chosen = tracks[:, weights > 0].astype(np.float64)
    centred = loops.centre(tracks, weights, False)
    np.testing.assert_allclose(centred[:, weights > 0], chosen - chosen.mean(1, keepdims=True), atol=1e-3)
    assert not centred[:, weights == 0].any()
    normal = loops.centre(tracks, weights, True)
    alike = np.atleast_2d(np.corrcoef(chosen))
    np.testing.assert_allclose(
        loops.products_of_pairs(normal), alike[np.triu_indices(len(tracks), 1)], atol=1e-3
    )
    later = loops.products_at_lag(normal, 3)
    np.testing.assert_allclose(later, normal[:, 3:] @ normal[:, :-3].T, atol=1e-4)
    np.testing.assert_allclose(
        loops.autocorrelations(centred, np.array([0, 3])), [np.ones(len(tracks)), np.diag(later)], atol=1e-3
    )


@given(SIZES, st.integers(0, 19))
@settings(max_examples=30, deadline=None)
def test_values_are_held_against_those_nearby(size: tuple[int, int, int], half: int):
    tracks, _ = tracks_and_weights(size)
    bands, whole = np.exp(tracks / 10), 2 * half + 1
    near = [
        scipy.ndimage.uniform_filter1d(of, whole, axis=-1, mode="constant")
        for of in (bands, np.ones_like(bands))
    ]
    expected = bands / (near[0] / near[1] + 0.1) + 0.3
    loops.hold_against_nearby(bands, half, 0.1, 0.3)
    np.testing.assert_allclose(bands, expected, rtol=1e-4)


def test_a_row_shorter_than_what_is_nearby():
    bands = np.ones((1, 5), np.float32)
    loops.hold_against_nearby(bands, 16, 0.0, 0.0)
    np.testing.assert_allclose(bands, 1)


@pytest.mark.parametrize("size", [256, 512])
def test_shares_that_repeat(size: int, rng: np.random.Generator):
    power = rng.random((50, size // 2 + 1), np.float32)
    lags = rng.uniform(20, 128, 50).astype(np.float32)
    edges = np.array([10, 26, 40, 41, size // 2 - 3])
    found = loops.periodic_shares(power, lags, edges)
    cosines = np.cos(2 * np.pi / size * lags[:, None].astype(np.float64) * np.arange(size // 2 + 1))
    for band, (begin, end) in enumerate(itertools.pairwise(edges)):
        expected = (power * cosines)[:, begin:end].sum(axis=1) / power[:, begin:end].sum(axis=1)
        np.testing.assert_allclose(found[band], expected, atol=2e-4)


def test_reflections_solve_the_normal_equations(rng: np.random.Generator):
    power = rng.random((20, 129), np.float32) ** 4
    autocorrelation = np.fft.irfft(power, axis=1)[:, :129].astype(np.float32)
    found, errors = loops.reflections(autocorrelation, 10)
    for frame, row in enumerate(autocorrelation.astype(np.float64)):
        row = row / row[0]
        row[0] = 1.0001
        solved = scipy.linalg.solve_toeplitz(row[:10], -row[1:11])
        assert found[-1, frame] == pytest.approx(solved[-1], abs=1e-3)
        assert errors[frame] == pytest.approx(row[0] + solved @ row[1:11], rel=1e-2)


def test_peaks_between_samples():
    lags = np.arange(140)
    tops = np.array([20.0, 33.3, 76.5, 127.0])
    rows = (1 - (lags - tops[:, None]) ** 2 / 1e4).astype(np.float32)
    whole, highest, between, beside = loops.highest_peaks(rows, np.ones(128, np.float32), 20)
    assert whole.tolist() == [20, 33, 76, 127]
    np.testing.assert_allclose(highest, 1, atol=1e-4)
    # At either end of the search the parabola stands on the value beside the highest.
    np.testing.assert_allclose(between, [20, 33.3, 76.5, 127], atol=0.01)
    np.testing.assert_allclose(beside, rows[range(4), [21, 33, 76, 126]])


def test_trembling_is_between_voiced_frames():
    log_lag = np.cumsum([0, 1, 2, 3, 0, 50, 0, 1, 2, 3, 4]).astype(np.float32) / 10
    voiced = np.array([1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1], bool)
    _, (calm, inside) = loops.tremble(log_lag, voiced, np.array([1, 2]), 2, 0.25)
    assert inside.tolist() == [[8, 6], [7, 4]]
    assert calm.tolist() == [[5, 5], [0, 1]]


def test_shares_of_power(rng: np.random.Generator):
    spectrum = (rng.standard_normal((3, 20)) + 1j * rng.standard_normal((3, 20))).astype(np.complex64)
    found = loops.shares_of_power(spectrum, np.array([1, 1, 5, 30]))
    power = np.abs(spectrum) ** 2
    expected = np.stack([np.zeros(3), power[:, 1:5].sum(1), power[:, 5:].sum(1)]) / power.sum(1)
    np.testing.assert_allclose(found, expected + 1e-6, rtol=1e-4, atol=1e-6)
