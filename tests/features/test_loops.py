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

SIZES = st.tuples(st.integers(1, 9), st.integers(90, 300), st.integers(0, 2**31))
"""Quantities, frames of both windows, the shorter one of 40 at least; seed."""
STEPS = (1, 2, 4, 8)


def tracks_and_weights(size: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    quantities, frames, seed = size
    rng = np.random.default_rng(seed)
    tracks = rng.standard_normal((quantities, frames)).cumsum(axis=1).astype(np.float32)
    weights = (rng.random(frames) < 0.7).astype(np.float32)
    bounds = bounds_of(frames)
    for start, end in itertools.pairwise(bounds):
        weights[(start + end) // 2 :][:6] = 1
    return tracks, weights


def bounds_of(frames: int) -> np.ndarray:
    """Two windows of different lengths."""
    return np.array([0, frames * 5 // 9, frames])


def windows_of(tracks: np.ndarray, weights: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    return [
        (tracks[..., start:end], weights[start:end])
        for start, end in itertools.pairwise(bounds_of(len(weights)))
    ]


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
    bounds = bounds_of(len(weights))
    found = loops.moments(tracks, weights[None], bounds)
    for of_window, (track, weight) in zip(found, windows_of(tracks, weights), strict=True):
        np.testing.assert_allclose(of_window, expected_moments(track[:, weight > 0]), atol=0.01)
    each = loops.moments(tracks, np.tile(weights, (len(tracks), 1)), bounds)
    np.testing.assert_array_equal(each, found)


@given(SIZES)
@settings(max_examples=30, deadline=None)
def test_moments_of_differences(size: tuple[int, int, int]):
    tracks, weights = tracks_and_weights(size)
    found = loops.moments_of_differences(tracks, weights, bounds_of(len(weights)), np.array(STEPS))
    for of_window, (track, weight) in zip(found, windows_of(tracks, weights), strict=True):
        for step, (first, second) in zip(STEPS, of_window, strict=True):
            difference = track[:, step:] - track[:, :-step]
            counts = weight[step // 2 :][: difference.shape[1]] > 0
            np.testing.assert_allclose(first, expected_moments(difference[:, counts]), atol=0.01)
            difference = difference[:, step:] - difference[:, :-step]
            counts = weight[step:-step] > 0
            np.testing.assert_allclose(second, expected_moments(difference[:, counts]), atol=0.01)


@given(SIZES)
@settings(max_examples=30, deadline=None)
def test_rows_against_one_another(size: tuple[int, int, int]):
    tracks, weights = tracks_and_weights(size)
    bounds = bounds_of(len(weights))
    all_centred = loops.centre(tracks, weights, bounds, False)
    all_normal = loops.centre(tracks, weights, bounds, True)
    pairs, later = loops.products_of_pairs(all_normal, bounds), loops.products_at_lag(all_normal, bounds, 3)
    alike = loops.autocorrelations(all_centred, bounds, np.array([0, 3]))
    for window, ((track, weight), (centred, _), (normal, _)) in enumerate(
        zip(*(windows_of(of, weights) for of in (tracks, all_centred, all_normal)), strict=True)
    ):
        chosen = track[:, weight > 0].astype(np.float64)
        np.testing.assert_allclose(centred[:, weight > 0], chosen - chosen.mean(1, keepdims=True), atol=1e-3)
        assert not centred[:, weight == 0].any()
        expected = np.atleast_2d(np.corrcoef(chosen))[np.triu_indices(len(track), 1)]
        np.testing.assert_allclose(pairs[window], expected, atol=1e-3)
        np.testing.assert_allclose(later[window], normal[:, 3:] @ normal[:, :-3].T, atol=1e-4)
        expected = np.stack([np.ones(len(track)), np.diag(later[window])])
        np.testing.assert_allclose(alike[window], expected, atol=1e-3)


@given(SIZES, st.integers(0, 19))
@settings(max_examples=30, deadline=None)
def test_values_are_held_against_those_nearby(size: tuple[int, int, int], half: int):
    tracks, weights = tracks_and_weights(size)
    every, floors = np.exp(tracks / 10), np.array([0.1, 0.7], np.float32)
    expected = []
    for (bands, _), floor in zip(windows_of(every, weights), floors, strict=True):
        near = [
            scipy.ndimage.uniform_filter1d(of, 2 * half + 1, axis=-1, mode="constant")
            for of in (bands, np.ones_like(bands))
        ]
        expected.append(bands / (near[0] / near[1] + floor) + 0.3)
    loops.hold_against_nearby(every, bounds_of(len(weights)), half, floors, 0.3)
    np.testing.assert_allclose(every, np.concatenate(expected, axis=1), rtol=1e-4)


def test_a_row_shorter_than_what_is_nearby():
    bands = np.ones((1, 5), np.float32)
    loops.hold_against_nearby(bands, np.array([0, 5]), 16, np.zeros(1, np.float32), 0.0)
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
    bounds = np.array([0, len(log_lag), 2 * len(log_lag)])
    _, counts = loops.tremble(np.tile(log_lag, 2), np.tile(voiced, 2), bounds, np.array([1, 2]), 2, 0.25)
    for calm, inside in counts:
        assert inside.tolist() == [[8, 6], [7, 4]]
        assert calm.tolist() == [[5, 5], [0, 1]]


def test_pitch_moves_between_voiced_frames():
    rng = np.random.default_rng(0)
    log_lag = np.cumsum(rng.choice([-0.05, 0.0, 0.05, 0.4], 200, p=[0.3, 0.3, 0.3, 0.1])).astype(np.float32)
    voiced = rng.random(200) < 0.9
    found, alone = (
        loops.pitch_moves(
            np.tile(log_lag, times), np.tile(voiced, times), 200 * np.arange(times + 1), 0.15, 16
        )
        for times in (2, 1)
    )
    np.testing.assert_array_equal(found, np.repeat(alone, 2, axis=0))
    steps = np.diff(log_lag)
    both = voiced[1:] & voiced[:-1]
    calm = both & (np.abs(steps) < 0.15)
    np.testing.assert_allclose(alone[0, :4], expected_moments(steps[None, calm])[:, 0], atol=0.01)
    bends = np.diff(steps)[calm[1:] & calm[:-1]]
    np.testing.assert_allclose(alone[0, 4:8], expected_moments(bends[None])[:, 0], atol=0.01)
    assert alone[0, 8] == pytest.approx((both & ~calm).sum() / both.sum())
    assert alone[0, 9] == pytest.approx(np.log(log_lag[voiced].std() + 1e-4), abs=1e-3)
    few = voiced & (np.arange(200) < 12)
    assert not loops.pitch_moves(log_lag, few, np.array([0, 200]), 0.15, 16).any()


def test_shares_of_power(rng: np.random.Generator):
    spectrum = (rng.standard_normal((3, 20)) + 1j * rng.standard_normal((3, 20))).astype(np.complex64)
    found = loops.shares_of_power(spectrum, np.array([1, 1, 5, 30]))
    power = np.abs(spectrum) ** 2
    expected = np.stack([np.zeros(3), power[:, 1:5].sum(1), power[:, 5:].sum(1)]) / power.sum(1)
    np.testing.assert_allclose(found, expected + 1e-6, rtol=1e-4, atol=1e-6)
