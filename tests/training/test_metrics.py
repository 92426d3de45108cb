from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceguard.training import metrics

pytest.importorskip("sklearn")


def test_separated_scores_have_no_error():
    human, synthetic = np.arange(10.0), np.arange(20.0, 40.0)
    assert metrics.equal_error_rate(human, synthetic) == 0
    assert metrics.area_under_curve(human, synthetic) == 1
    assert metrics.true_positive_rate(human, synthetic, 0.01) == 1


def test_equal_distributions_are_at_chance(rng):
    human, synthetic = rng.standard_normal(4000), rng.standard_normal(4000)
    assert metrics.equal_error_rate(human, synthetic) == pytest.approx(0.5, abs=0.03)
    assert metrics.area_under_curve(human, synthetic) == pytest.approx(0.5, abs=0.03)


def test_gaussian_scores_have_the_known_error(rng):
    human, synthetic = rng.standard_normal(20000) - 1, rng.standard_normal(20000) + 1
    assert metrics.equal_error_rate(human, synthetic) == pytest.approx(0.1587, abs=0.01)


def test_area_equals_scikit_learn(rng):
    from sklearn.metrics import roc_auc_score

    human, synthetic = np.round(rng.standard_normal(300), 1), np.round(rng.standard_normal(200) + 0.5, 1)
    expected = roc_auc_score([0] * 300 + [1] * 200, np.concatenate([human, synthetic]))
    assert metrics.area_under_curve(human, synthetic) == pytest.approx(expected)


def test_channel_detector_is_at_chance_within_pages(rng):
    pages = np.repeat(["a", "b", "c", "d"], 50)
    synthetic = rng.random(200) < np.repeat([0.9, 0.1, 0.8, 0.2], 50)
    scores = np.repeat([4.0, -4.0, 3.0, -3.0], 50) + 1e-3 * rng.standard_normal(200)
    assert metrics.area_under_curve(scores[~synthetic], scores[synthetic]) > 0.75
    assert metrics.area_within(scores, synthetic, pages) == pytest.approx(0.5, abs=0.15)


def test_cllr_of_true_likelihood_ratios_is_near_its_minimum(rng):
    human, synthetic = 2 * (rng.standard_normal(5000) - 1), 2 * (rng.standard_normal(5000) + 1)
    least = metrics.minimum_cllr(human, synthetic)
    assert metrics.cllr(human, synthetic) == pytest.approx(least, abs=0.02)
    assert metrics.cllr(3 * human, 3 * synthetic) > least + 0.05
    assert metrics.cllr(np.zeros(5), np.zeros(5)) == pytest.approx(1)


@given(st.integers(0, 50), st.integers(1, 2000))
def test_interval_holds_the_rate(count, total):
    count = min(count, total)
    found = metrics.rate(np.arange(total) < count)
    assert found.low <= found.value <= found.high
    assert (found.count, found.total) == (count, total)


def test_no_error_in_n_bounds_the_rate_by_about_three_over_n():
    assert metrics.rate(np.zeros(3000, dtype=bool)).high == pytest.approx(3.7 / 3000, rel=0.01)


def test_scores_that_are_calibrated_exceed_the_minimum_by_chance_alone(rng):
    def excess(count: int) -> tuple[float, float]:
        human, synthetic = rng.normal(-2, 2, count), rng.normal(2, 2, count)  # their own likelihood ratios
        found = metrics.cllr(human, synthetic) - metrics.minimum_cllr(human, synthetic)
        return found, metrics.excess_by_chance(human, synthetic)

    for count in (100, 2000):
        found, expected = np.mean([excess(count) for _ in range(20)], axis=0)
        assert found == pytest.approx(expected, rel=0.3)
