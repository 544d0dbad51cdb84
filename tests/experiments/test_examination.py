"""Tests of the position-based model's fit to movies that chance put in one of several positions."""

from __future__ import annotations

import numpy as np
import pytest

from marquee.experiments.examination import (
    chances_of_arms,
    chances_of_exploration,
    fit_examination,
)

N = 20


@pytest.mark.parametrize("exponent", [0.3, 0.8, 1.5])
def test_fit_examination_of_two_arms_finds_the_exponent(exponent: float) -> None:
    """Movies that suit more users stand higher in both arms, and do not bias it."""
    rng = np.random.default_rng(3)
    one, other = np.sort(rng.integers(1, N + 1, (2, 20_000)), axis=0)
    shown = np.where(rng.random(len(one)) < 0.5, one, other)
    suits = 0.9 / (one + other) ** 0.5
    begun = rng.random(len(one)) < suits * shown**-exponent
    curve = fit_examination(shown[begun], chances_of_arms(shown, one + other - shown, N)[begun])
    assert abs(curve.exponent - exponent) <= 3 * curve.error < 0.5
    assert curve.outcomes == begun.sum()
    assert curve.at_positions(3) == pytest.approx(np.array([1, 2, 3]) ** -curve.exponent)


def test_fit_examination_of_uniform_lists_finds_the_exponent() -> None:
    """Lists drawn uniformly suffice, where there are enough."""
    rng = np.random.default_rng(4)
    begun = rng.random((4000, N)) < 0.2 * np.arange(1, N + 1) ** -0.7
    lists, position = np.nonzero(begun)
    chances = chances_of_exploration(np.ones(4000, bool), np.zeros(4000, int), N)
    curve = fit_examination(position + 1, chances[lists, position])
    assert abs(curve.exponent - 0.7) <= 3 * curve.error < 0.3


def test_fit_examination_without_outcomes_is_the_prior() -> None:
    """A new site has nothing to fit, and says so by its error."""
    curve = fit_examination(np.empty(0, int), np.empty((0, N)))
    assert (curve.exponent, curve.error, curve.outcomes) == (1, 1, 0)


def test_chances_of_exploration_ranked_list_swaps_its_tail_only() -> None:
    """The fixed part has one possible position; the last three have each other's."""
    ranked, uniform = chances_of_exploration(np.array([False, True]), np.array([3, 3]), 5)
    assert ranked.tolist() == [
        [1, 0, 0, 0, 0],
        [0, 1, 0, 0, 0],
        [0, 0, 1, 1, 1],
        [0, 0, 1, 1, 1],
        [0, 0, 1, 1, 1],
    ]
    assert uniform.tolist() == np.ones((5, 5)).tolist()
