"""Tests of sequences and e-values: closed forms against numerical ones, and boundaries on Brownian motion."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import integrate, special, stats

from marquee.experiments.ratio_estimates import Estimate
from marquee.experiments.sequences import (
    half_and_end,
    log_e_difference,
    log_e_harm,
    log_e_harm_mixed,
    log_mean_exp,
    normal_quantile,
    one_sided_radius,
    two_sided_radius,
    z_score,
)

ALPHA, TAU = 0.05, 0.3
LogE = Callable[[Estimate, float], NDArray[np.float64]]
PATHS, LOOKS = 4000, 80
ALLOWED = ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / PATHS)


@pytest.fixture(scope="module")
def brownian() -> Estimate:
    """Return estimates [paths, looks] of the value 0, from 1/1,000 to 100 times the information of a fixed test."""
    fixed = ((normal_quantile(0.975) + normal_quantile(0.8)) / TAU) ** 2
    information = fixed * np.geomspace(1e-3, 1e2, LOOKS)
    steps = np.random.default_rng(7).standard_normal((PATHS, LOOKS)) * np.sqrt(np.diff(information, prepend=0.0))
    return Estimate(steps.cumsum(1) / information, np.broadcast_to(1 / information, steps.shape))


def _log_e_half_normal(estimate: Estimate, tau: float) -> NDArray[np.float64]:
    """Return the likelihood ratio averaged over a half-normal prior of harms, of which the upper bound is made."""
    info, rho = estimate.information, tau**-2
    s = estimate.value * info / np.sqrt(info + rho)
    return np.asarray(math.log(2) + 0.5 * np.log(rho / (info + rho)) + s**2 / 2 + special.log_ndtr(s))


def ever(crossed: NDArray[np.bool_]) -> float:
    return float(crossed.any(1).mean())


def test_two_sided_radius_on_brownian_motion_is_crossed_in_five_percent_at_most(brownian: Estimate) -> None:
    """It holds at all 80 looks at once; the fixed test beside it does not."""
    assert ever(np.abs(brownian.value) > two_sided_radius(brownian.information, TAU)) <= ALLOWED
    assert ever(np.abs(z_score(brownian)) > 1.96) >= 0.5


def test_one_sided_radius_on_brownian_motion_is_crossed_in_five_percent_at_most(brownian: Estimate) -> None:
    """The upper bound covers the truth at every look, and is closer than the two-sided one."""
    radius = one_sided_radius(brownian.information, TAU)
    assert 0 < ever(brownian.value + radius < 0) <= ALLOWED
    assert (radius < two_sided_radius(brownian.information, TAU)).all()


def test_log_e_harm_mean_of_dependent_values_reaches_twenty_in_five_percent_at_most(brownian: Estimate) -> None:
    """The mean of the e-values of four correlated metrics is an e-process, mixtures over tau included."""
    noise = np.random.default_rng(8).standard_normal((3, PATHS, LOOKS)) * np.sqrt(
        np.diff(brownian.information[0], prepend=0.0)
    )
    others = [
        Estimate(0.6 * brownian.value + 0.8 * one.cumsum(1) / brownian.information, brownian.variance) for one in noise
    ]
    e = log_mean_exp([log_e_harm_mixed(one, TAU, 10.0) for one in [brownian, *others]])
    assert ever(e >= math.log(1 / ALPHA)) <= ALLOWED


def test_half_and_end_on_brownian_motion_errs_in_five_percent_at_most(brownian: Estimate) -> None:
    """The anytime half and the test at the end together spend alpha."""
    verdicts = half_and_end(brownian, TAU, at_end=False) != 0
    verdicts[:, -1] |= half_and_end(Estimate(brownian.value[:, -1], brownian.variance[:, -1]), TAU, at_end=True) != 0
    assert 0.01 <= ever(verdicts) <= ALLOWED


@pytest.mark.parametrize("information", [0.5, 4.0, 40.0])
@pytest.mark.parametrize("log_e", [log_e_harm, lambda estimate, harm: log_e_harm_mixed(estimate, harm, 8 * harm)])
def test_log_e_harm_expectation_without_harm_is_one(information: float, log_e: LogE) -> None:
    """Integrated over the normal distribution of the estimate: 1 at no harm, less at a benefit, more at harm."""
    error = information**-0.5
    found = []
    for harm in (0.0, -0.5 * TAU, TAU):
        values = harm + error * np.linspace(-60, 60, 240_001)  # The mass of large harms' ratios is far out.
        logs = log_e(Estimate(values, np.full_like(values, error**2)), TAU) + stats.norm.logpdf(values, harm, error)
        found.append(float(integrate.simpson(np.exp(logs), x=values)))
    assert found[0] == pytest.approx(1, abs=1e-6)
    assert found[1] < 1 < found[2]


def test_log_e_difference_expectation_of_equal_arms_is_one() -> None:
    """The e-value of secondary metrics, in both directions, at little and at much information."""
    for information in (0.5, 40.0, 3000.0):
        error = information**-0.5
        values = error * np.linspace(-400, 400, 800_001)
        logs = log_e_difference(Estimate(values, np.full_like(values, error**2)), TAU) + stats.norm.logpdf(
            values, scale=error
        )
        assert float(integrate.simpson(np.exp(logs), x=values)) == pytest.approx(1, abs=1e-3)


def test_log_e_harm_mixed_without_a_worst_harm_is_finite() -> None:
    """Before the first list nothing bounds the harm of an absolute margin; the mixture then ends at the margin."""
    estimate = Estimate(np.array([1.0, -1e6]), np.array([1e-9, 1e-9]))
    assert np.isfinite(log_e_harm_mixed(estimate, TAU, math.inf)).all()
    assert float(log_e_harm_mixed(Estimate(np.array(0.0), np.array(np.inf)), TAU, math.inf)) == 0


def test_log_e_harm_mixed_finds_a_harm_of_the_margin_sooner_than_a_half_normal_mixture() -> None:
    """At a harm of the margin, the mean information at the rollback of a canary with four guardrails is smaller."""
    rng = np.random.default_rng(11)
    information = np.arange(1, 401) * 0.1 / TAU**2
    steps = rng.standard_normal((1000, 400)) * np.sqrt(0.1) / TAU
    harmed = Estimate(TAU + steps.cumsum(1) / information, np.broadcast_to(1 / information, steps.shape))
    stops = []
    for log_e in (log_e_harm_mixed(harmed, TAU, TAU), _log_e_half_normal(harmed, TAU)):
        reached = log_e >= math.log(4 / ALPHA)
        stops.append(np.where(reached.any(1), reached.argmax(1), 400).mean())
    assert stops[0] <= 0.95 * stops[1]


@pytest.mark.parametrize("information", [1.0, 1e3, 1e6])
def test_two_sided_radius_is_where_the_mixture_reaches_one_over_alpha(information: float) -> None:
    """The boundary is the inversion of the normal mixture of Robbins."""
    radius, rho = float(two_sided_radius(information, TAU)), TAU**-2
    mixture = 0.5 * math.log(rho / (information + rho)) + (radius * information) ** 2 / (2 * (information + rho))
    assert mixture == pytest.approx(math.log(1 / ALPHA))
    bound = one_sided_radius(information, TAU)
    at_bound = _log_e_half_normal(Estimate(bound, np.array(1 / information)), TAU)
    assert math.log(1 / ALPHA) <= float(at_bound) < math.log(1.3 / ALPHA)


def test_radii_without_information_are_infinite() -> None:
    """Before any data nothing is excluded, and the e-value is 1."""
    nothing = Estimate(np.array([0.0, 5.0]), np.array([np.inf, 0.0]))
    assert np.isinf(two_sided_radius(nothing.information, TAU)).all()
    assert np.isinf(one_sided_radius(nothing.information, TAU)).all()
    assert log_e_harm(nothing, TAU).tolist() == [0.0, 0.0]
    assert half_and_end(nothing, TAU, at_end=True).tolist() == [0, 0]


def test_half_and_end_sign_is_that_of_the_effect() -> None:
    """At the end a difference of 2.3 standard errors counts, before it does not."""
    estimate = Estimate(np.array([2.3, -2.3, 9.0]), np.ones(3))
    assert half_and_end(estimate, 1.0, at_end=True).tolist() == [1, -1, 1]
    assert half_and_end(estimate, 1.0, at_end=False).tolist() == [0, 0, 1]
