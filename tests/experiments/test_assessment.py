"""Tests of the assessment of one look: margins, bounds, and the bound of rare failures at every look."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.experiments.looks import CANARY, change, make_look

from marquee.experiments.assessment import ONE_FAILURE, MetricAssessment, assess_arm, assess_sample, resolve_margin
from marquee.experiments.declaration import Margin
from marquee.experiments.look import Look
from marquee.experiments.ratio_estimates import difference
from marquee.experiments.sequences import one_sided_radius


def guardrails(look: Look) -> dict[str, MetricAssessment]:
    return {one.metric: one for one in assess_arm(CANARY, look, "canary", at_end=False).guardrails}


def test_resolve_margin_of_rmse_is_that_of_squared_errors() -> None:
    """2 % of RMSE are 4.04 % of the mean squared error; other percentages are of the baseline."""
    look = make_look()
    assert resolve_margin(Margin(0.02, relative=True), "rates", look, 0.0) == pytest.approx(0.0404 * 0.9)
    assert resolve_margin(Margin(0.2, relative=True), "watched", look, 0.5) == pytest.approx(0.06)
    assert resolve_margin(Margin(0.005), "answered", look, 0.0) == 0.005
    # Without a past, control's own value serves; without either there is no margin.
    new_site = change(look, baselines={})
    assert resolve_margin(Margin(0.2, relative=True), "watched", new_site, 0.5) == pytest.approx(0.1)
    assert resolve_margin(Margin(0.2, relative=True), "rates", new_site, 0.0) is None


def test_assess_arm_harm_is_bounded_by_the_worst() -> None:
    """Before any data the harm is what it can be at most; the room is that of the tightest guardrail."""
    empty = change(make_look(), sums={})
    found = guardrails(empty)
    assert (found["answered"].harm_high, found["watched"].harm_high, found["rates"].harm_high) == (1.0, 0.3, 16.0)
    assert found["ranks"].verdict == "silent"
    arm = assess_arm(CANARY, empty, "canary", at_end=False)
    assert arm.waits_for == "rates"
    assert arm.room == pytest.approx(0.0404 * 0.9 / 16)
    assert arm.e == 1
    ten = change(empty, rating_range=9.0)
    assert guardrails(ten)["rates"].harm_high == 81


def test_assess_arm_fewer_movies_begun_are_harm() -> None:
    """The estimate keeps its sign; the harm of a metric of which more is better has the other one."""
    watched = guardrails(make_look(watched=0.2))["watched"]
    assert watched.estimate == pytest.approx(-0.1)
    assert watched.harm == pytest.approx(0.1)
    assert watched.values == pytest.approx((0.3, 0.2))
    assert watched.low is not None
    assert watched.high is not None
    assert watched.low < -0.1 < watched.high < 0


def test_assess_arm_of_a_failing_arm_tosses_one_coin_a_user() -> None:
    """The e-value of `answered` is that of users with a failed request, not of requests."""
    look = change(make_look(), failed={"canary": 12})
    expected = np.mean([(2 * p) ** 12 for p in np.arange(0.55, 0.96, 0.05)])
    assert guardrails(look)["answered"].e == pytest.approx(expected)


def test_assess_sample_counts_users_in_two_arms() -> None:
    """More than one in a hundred is unsound, whatever the counts."""
    look = make_look()
    assert assess_sample(CANARY, look).sound
    assert not assess_sample(CANARY, change(look, crossed=801)).sound
    assert assess_sample(CANARY, change(look, users={}, impressed={})).e_requests == 1


@pytest.mark.parametrize(("old", "new"), [(0.002, 0.002), (0.0005, 0.004), (0.02, 0.03)])
def test_bound_of_rare_failures_covers_the_truth_at_every_look(old: float, new: float) -> None:
    """In 2,000 runs of 40 looks, with as little as one failure in 2,000 requests."""
    rng, runs = np.random.default_rng(11), 2000
    sizes = np.geomspace(60, 20_000, 40).astype(int)
    steps = np.diff(sizes, prepend=0)
    sums = []
    for rate in (old, new):
        y = rng.binomial(steps, rate, (runs, len(steps))).cumsum(1).astype(float)
        x = np.broadcast_to(sizes.astype(float), y.shape)
        sums.append(np.stack([x, y, x, y, y, x], -1) + ONE_FAILURE)
    estimate = difference(sums[0], sums[1])
    bound = estimate.value + one_sided_radius(estimate.information, 0.005)
    assert ((bound < new - old).any(1)).mean() <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / runs)
