"""Exposure and its Gini coefficient equal independent formulas; Holm's procedure a calculation by hand."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.fairness import multiplicity
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies

from marquee.evaluation import exposure
from marquee.evaluation.bootstrap import EvaluationParams

QUICK = EvaluationParams(resamples=200, interval=0.95)


def pairwise_gini(values: np.ndarray) -> float:
    """Return the mean absolute difference of all pairs over twice the mean: the definition, in n² steps."""
    return float(np.abs(values[:, None] - values[None, :]).mean() / (2 * values.mean()))


def test_gini_known_distributions_have_known_values() -> None:
    """Equal values give 0; of n values one that is not 0 gives (n - 1) / n; 1, 3 gives a quarter."""
    assert exposure.gini(np.full(7, 3.0)) == pytest.approx(0)
    assert exposure.gini(np.array([0.0, 0.0, 5.0, 0.0])) == pytest.approx(3 / 4)
    assert exposure.gini(np.array([3.0, 1.0])) == pytest.approx(1 / 4)
    assert np.isnan(exposure.gini(np.zeros(3)))


# Exposure is 0 or a sum of weights; the smallest floats, whose mean difference underflows, do not occur.
@given(numpy_strategies.arrays(np.float64, st.integers(1, 40), elements=st.just(0.0) | st.floats(1e-9, 1e6)))
def test_gini_equals_the_mean_difference_of_pairs(values: np.ndarray) -> None:
    """LensKit's definition (sum of rank-weighted values) and the mean difference of all pairs are one number."""
    if values.sum() > 0:
        assert exposure.gini(values) == pytest.approx(pairwise_gini(values), abs=1e-9)


def test_total_exposure_equals_a_count_by_hand() -> None:
    """The first position has exposure 1, the second 1 / log2(3), the third 1 / 2; items without position have 0."""
    lists = np.array([[2, 0, 1], [2, 1, 0]])
    expected = [1 / np.log2(3) + 1 / 2, 1 / 2 + 1 / np.log2(3), 2.0, 0.0]
    np.testing.assert_allclose(exposure.total_exposure(lists, 4), expected)


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(3, 30))
def test_total_exposure_equals_a_loop_over_positions(seed: int, users: int, n_items: int) -> None:
    """The exposure of weighted lists is that of a loop that adds one position at a time, as LensKit's table does."""
    rng = np.random.default_rng(seed)
    lists = np.array([rng.permutation(n_items)[:3] for _ in range(users)])
    weights = rng.integers(0, 4, users).astype(float)
    expected: dict[int, float] = {}
    for row, weight in zip(lists.tolist(), weights.tolist(), strict=True):
        for position, item in enumerate(row, start=1):
            expected[item] = expected.get(item, 0.0) + weight / np.log2(position + 1)
    np.testing.assert_allclose(
        exposure.total_exposure(lists, n_items, weights), [expected.get(item, 0.0) for item in range(n_items)]
    )


def test_exposure_gini_same_lists_are_more_unequal_than_random_lists() -> None:
    """The value lies in its interval, and one list for all users is the most unequal."""
    rng = np.random.default_rng(3)
    same = np.tile(np.arange(10), (60, 1))
    different = np.array([rng.permutation(100)[:10] for _ in range(60)])
    equal, unequal = (exposure.exposure_gini(lists, 100, QUICK, 1) for lists in (different, same))
    for metric in (equal, unequal):
        assert metric.low is not None
        assert metric.high is not None
        assert metric.low <= metric.value + 1e-9
        assert metric.value <= metric.high + 1e-9
    assert equal.high is not None
    assert equal.high < unequal.value
    assert unequal.value > 0.9


def test_exposure_gini_without_lists_is_nan() -> None:
    """Without a user there is no exposure."""
    assert np.isnan(exposure.exposure_gini(np.empty((0, 10), int), 5, QUICK, 0).value)


def test_resample_ginis_shares_the_draws() -> None:
    """Two candidates with equal lists have equal samples, so that their difference is exactly 0."""
    lists = np.random.default_rng(0).integers(0, 20, (30, 10))
    first, second = exposure.resample_ginis([lists, lists.copy()], 20, 50, 4)
    np.testing.assert_array_equal(first, second)
    assert len(set(first.tolist())) > 10


def test_adjust_holm_matches_hand_calculation() -> None:
    """Four tests: the smallest is multiplied by 4, the next by 3, and no adjusted value is below one before it."""
    assert multiplicity.adjust_holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert multiplicity.adjust_holm([0.5, 0.9]) == [1.0, 1.0]
    assert multiplicity.adjust_holm([]) == []


def test_bootstrap_p_value_follows_the_distance_in_standard_errors() -> None:
    """A difference of 1.96 standard errors has a p-value of 5 %; samples that do not vary decide by the value."""
    samples = np.random.default_rng(5).normal(0.3, 0.1, 5000)
    assert multiplicity.bootstrap_p_value(0.196, samples) == pytest.approx(0.05, abs=0.01)
    assert multiplicity.bootstrap_p_value(0.0, samples) == pytest.approx(1.0)
    assert multiplicity.bootstrap_p_value(0.0, np.zeros(9)) == 1.0
    assert multiplicity.bootstrap_p_value(0.1, np.zeros(9)) == 0.0
    assert multiplicity.bootstrap_p_value(float("nan"), samples) == 1.0


def test_share_of_top_counts_one_item_in_a_hundred_and_at_least_one() -> None:
    """The two largest of 200 values, the largest of three, and NaN without exposure."""
    assert exposure.share_of_top(np.arange(200.0)) == pytest.approx((199 + 198) / np.arange(200).sum())
    assert exposure.share_of_top(np.array([1.0, 3.0, 0.0])) == pytest.approx(3 / 4)
    assert np.isnan(exposure.share_of_top(np.zeros(3)))
