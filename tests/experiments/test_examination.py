"""Tests of the position-based model's fit to movies that chance put in one of several positions."""

from __future__ import annotations

import numpy as np
import pytest

from marquee.experiments.examination import (
    ExaminationCurve,
    chances_of_arms,
    chances_of_exploration,
    fit_examination,
)
from marquee.experiments.ratio_estimates import Floats

N = 20


def assert_agrees(curve: ExaminationCurve, truth: Floats) -> None:
    """Assert that the curve is within three standard errors of the truth, and that these are small."""
    fitted = curve.at_positions(N)
    errors = np.sqrt(sum((deviation - fitted) ** 2 for deviation in curve.deviate(N)))
    assert (np.abs(fitted - truth / truth[0]) <= 3 * errors + 0.01).all()
    assert errors.max() < 0.1


@pytest.mark.parametrize("exponent", [0.3, 0.8, 1.5])
def test_fit_examination_of_two_arms_finds_the_exponent(exponent: float) -> None:
    """Movies that suit more users stand higher in both arms, and do not bias it."""
    rng = np.random.default_rng(3)
    one, other = np.sort(rng.integers(1, N + 1, (2, 20_000)), axis=0)
    shown = np.where(rng.random(len(one)) < 0.5, one, other)
    suits = 0.9 / (one + other) ** 0.5
    begun = rng.random(len(one)) < suits * shown**-exponent
    curve = fit_examination(shown[begun], chances_of_arms(shown, one + other - shown, N)[begun])
    assert_agrees(curve, np.arange(1, N + 1, dtype=float) ** -exponent)
    assert curve.outcomes == begun.sum()
    expected = [1, 2 ** -(curve.exponent + curve.bend * np.log(2))]
    assert curve.at_positions(2) == pytest.approx(expected)


def test_fit_examination_of_uniform_lists_finds_the_curve() -> None:
    """Lists drawn uniformly suffice, where there are enough."""
    rng = np.random.default_rng(4)
    truth = 1 / np.log2(np.arange(2, N + 2))  # Not a power law.
    begun = rng.random((8000, N)) < 0.2 * truth
    lists, position = np.nonzero(begun)
    chances = chances_of_exploration(np.ones(8000, bool), np.zeros(8000, int), N)
    curve = fit_examination(position + 1, chances[lists, position])
    assert_agrees(curve, truth)


def test_fit_examination_without_outcomes_is_the_prior() -> None:
    """A new site has nothing to fit, and says so by its error."""
    curve = fit_examination(np.empty(0, int), np.empty((0, N)))
    assert (curve.exponent, curve.bend, curve.outcomes) == (1, 0, 0)
    assert curve.covariance == pytest.approx((1, 0, 1 / 16))


def test_deviate_curves_add_up_to_the_variance_of_the_fit() -> None:
    """To first order, the squared deviations of a position's logarithm are its variance."""
    curve = ExaminationCurve(0.7, -0.02, (4e-4, -1e-4, 5e-5), 1000)
    logs = np.log([deviation / curve.at_positions(N) for deviation in curve.deviate(N)])
    x = np.log(np.arange(1, N + 1))
    variance = 4e-4 * x**2 - 2e-4 * x**3 + 5e-5 * x**4
    assert (logs**2).sum(0) == pytest.approx(variance, rel=1e-6, abs=1e-12)


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
