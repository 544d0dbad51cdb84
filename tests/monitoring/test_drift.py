"""Effect sizes, by hand and by properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marquee.monitoring.drift import expected_index, quintile_fractions, stability_index, wasserstein

fractions = st.lists(st.floats(0.01, 1), min_size=5, max_size=5).map(
    lambda weights: tuple(weight / sum(weights) for weight in weights)
)


def test_the_index_by_hand() -> None:
    expected = 2 * (0.25 * math.log(0.75 / 0.5) - 0.25 * math.log(0.25 / 0.5)) / 2
    assert stability_index((0.5, 0.5), (0.75, 0.25)) == pytest.approx(expected)


def test_the_distance_by_hand() -> None:
    """All from the lowest to the highest: the whole scale. One fifth by one place: a quarter of a fifth."""
    assert wasserstein((1, 0, 0, 0, 0), (0, 0, 0, 0, 1)) == 1
    assert wasserstein((0.2,) * 5, (0.0, 0.4, 0.2, 0.2, 0.2)) == pytest.approx(0.05)


@given(fractions, fractions)
def test_both_are_symmetric_and_zero_for_the_same(a: tuple[float, ...], b: tuple[float, ...]) -> None:
    for distance in (stability_index, wasserstein):
        assert distance(a, b) == pytest.approx(distance(b, a))
        assert distance(a, b) >= 0
        assert distance(a, a) == 0


def test_an_empty_bin_is_finite() -> None:
    assert math.isfinite(stability_index((1.0, 0.0), (0.0, 1.0)))


def test_chance_makes_what_is_expected_of_it() -> None:
    """Two samples of one distribution, again and again: the mean of the index is near the formula's."""
    rng, p = np.random.default_rng(1), np.array([0.1, 0.2, 0.3, 0.3, 0.1])
    found = [
        stability_index(rng.multinomial(1_000, p) / 1_000, rng.multinomial(2_000, p) / 2_000)
        for _ in range(500)
    ]
    assert np.mean(found) == pytest.approx(expected_index(5, 1_000, 2_000), rel=0.1)


@pytest.mark.parametrize(
    ("rating", "high", "bin_"),
    [(1, 5, 0), (2, 5, 1), (4, 5, 3), (5, 5, 4), (10, 10, 4), (1, 10, 0), (5, 10, 2)],
)
def test_fifths_of_the_scale(rating: int, high: int, bin_: int) -> None:
    expected = [0] * 5
    expected[bin_] = 7
    assert quintile_fractions([(rating, 3), (rating, 4)], 1, high) == tuple(expected)
