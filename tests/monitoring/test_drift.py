"""Distances between distributions: hand calculations and properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marquee.monitoring.drift import (
    count_rating_bins,
    expected_stability_index,
    stability_index,
    wasserstein_distance,
)

fractions = st.lists(st.floats(0.01, 1), min_size=5, max_size=5).map(
    lambda weights: tuple(weight / sum(weights) for weight in weights)
)


def test_stability_index_matches_hand_calculation() -> None:
    """Two bins, from halves to three quarters and one quarter."""
    expected = 2 * (0.25 * math.log(0.75 / 0.5) - 0.25 * math.log(0.25 / 0.5)) / 2
    assert stability_index((0.5, 0.5), (0.75, 0.25)) == pytest.approx(expected)


def test_wasserstein_distance_matches_hand_calculation() -> None:
    """All mass from the lowest to the highest bin is 1. A fifth of it by one bin is a quarter of a fifth."""
    assert wasserstein_distance((1, 0, 0, 0, 0), (0, 0, 0, 0, 1)) == 1
    assert wasserstein_distance((0.2,) * 5, (0.0, 0.4, 0.2, 0.2, 0.2)) == pytest.approx(0.05)


@given(fractions, fractions)
def test_distances_are_symmetric_and_zero_for_equal(a: tuple[float, ...], b: tuple[float, ...]) -> None:
    """Both are non-negative and symmetric, and 0 for equal distributions."""
    for distance in (stability_index, wasserstein_distance):
        assert distance(a, b) == pytest.approx(distance(b, a))
        assert distance(a, b) >= 0
        assert distance(a, a) == 0


def test_stability_index_empty_bin_is_finite() -> None:
    """Bins without mass are given a small one."""
    assert math.isfinite(stability_index((1.0, 0.0), (0.0, 1.0)))


def test_expected_stability_index_matches_simulation() -> None:
    """The mean index of pairs of samples of one distribution is near the formula."""
    rng, p = np.random.default_rng(1), np.array([0.1, 0.2, 0.3, 0.3, 0.1])
    indexes = [
        stability_index((rng.multinomial(1_000, p) / 1_000).tolist(), (rng.multinomial(2_000, p) / 2_000).tolist())
        for _ in range(500)
    ]
    assert np.mean(indexes) == pytest.approx(expected_stability_index(5, 1_000, 2_000), rel=0.1)


@pytest.mark.parametrize(
    ("rating", "high", "bin_"),
    [(1, 5, 0), (2, 5, 1), (4, 5, 3), (5, 5, 4), (10, 10, 4), (1, 10, 0), (5, 10, 2)],
)
def test_count_rating_bins_rating_is_in_its_fifth(rating: int, high: int, bin_: int) -> None:
    """The ends of the scale are in the first and the last bin."""
    expected = [0] * 5
    expected[bin_] = 7
    assert count_rating_bins([(rating, 3), (rating, 4)], 1, high) == tuple(expected)
