"""Tests of plans against simulated experiments: the stated days are those after which half of them decide."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from marquee.experiments.declaration import Margin
from marquee.experiments.ratio_estimates import Estimate, difference, sum_users
from marquee.experiments.sequences import half_and_end, one_sided_radius
from marquee.monitoring.experiment_plan import PARTS, Past, plan_metric

USERS, DAYS, LOOKS_A_DAY, RUNS = 6_000, 14, 4, 24
BEGUN_PER_LIST, LISTS_A_DAY = 0.35, 1.5


class Site:
    """Users with a lasting taste and activity; half of them are there at the start, the others come within ten days."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self._activity = self.rng.lognormal(-0.18, 0.6, USERS)
        self._taste = self.rng.gamma(2, 0.5, USERS)

    def visit(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return movies begun and lists of the users so far, [looks, USERS] each."""
        entry = np.where(self.rng.random(USERS) < 0.5, 0, self.rng.integers(0, 10 * LOOKS_A_DAY, USERS))
        present = np.arange(DAYS * LOOKS_A_DAY)[:, None] >= entry
        lists = self.rng.poisson(LISTS_A_DAY / LOOKS_A_DAY * self._activity * present)
        begun = self.rng.poisson(BEGUN_PER_LIST * self._taste * lists)
        return begun.cumsum(0).astype(float), lists.cumsum(0).astype(float)

    def remember(self) -> list[Past]:
        """Return the users of the parts of two weeks, as the query yields them."""
        begun, lists = self.visit()
        looks = [int(DAYS * LOOKS_A_DAY * part) - 1 for part in PARTS]
        return [{"watched": begun[look], "lists": lists[look]} for look in looks]

    def measure(self, decides: Callable[[Estimate], bool], effect: float) -> float:
        """Return the median day at which experiments with ``effect`` more movies begun per list decide."""
        days = []
        for _ in range(RUNS):
            new = self.rng.random(USERS) < 0.5
            begun, lists = self.visit()
            begun += effect * lists * new
            looks = (
                difference(sum_users(y[~new], x[~new]), sum_users(y[new], x[new]))
                for y, x in zip(begun, lists, strict=True)
            )
            days.append(next((n / LOOKS_A_DAY for n, look in enumerate(looks, 1) if decides(look)), math.inf))
        return float(np.median(days))


@pytest.mark.parametrize("effect", [0.036, 0.045])
def test_plan_metric_primary_days_are_the_median_of_simulated_experiments(effect: float) -> None:
    """Stated within 25 % for five days and two, although lasting differences between users slow the later days down."""
    site = Site(1)
    planned = plan_metric(site.remember(), "watched", "primary", Margin(effect), DAYS, 0.5)
    found = site.measure(lambda look: bool(half_and_end(look, effect, at_end=False)), effect)
    assert planned.days == pytest.approx(found, rel=0.25)


@pytest.mark.parametrize("margin", [0.03])
def test_plan_metric_guardrail_days_are_the_median_of_simulated_experiments(margin: float) -> None:
    """Days until a harm of the margin is excluded, if there is none."""
    site = Site(1)
    planned = plan_metric(site.remember(), "watched", "guardrail", Margin(margin), DAYS, 0.5)
    found = site.measure(lambda look: bool(one_sided_radius(look.information, margin) - look.value < margin), 0.0)
    assert planned.days == pytest.approx(found, rel=0.25)


def test_plan_metric_size_that_the_users_never_reveal_is_said_to_take_forever() -> None:
    """Lasting differences between users bound the information, whatever the days."""
    planned = plan_metric(Site(3).remember(), "watched", "primary", Margin(0.005), DAYS, 0.5)
    assert planned.days == math.inf
