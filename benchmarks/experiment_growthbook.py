"""The canary of the benchmarks under a schedule and statistics like those of GrowthBook, as a reference.

Its safe rollouts are rebuilt from the documentation, not run: half of the covered users get the new arm, the coverage
rises on schedule from 10 % to all in the first quarter of a day, and each guardrail has a one-sided asymptotic
confidence sequence in the number of users, tuned at 5,000. A guardrail whose sequence excludes 0 rolls back; at the end
of the day the new arm is promoted.
"""

from __future__ import annotations

import math

import numpy as np

from benchmarks.experiment_canary import CUSTOMERS, LOOK_MIN, CanaryOutcome, CanaryTraffic, Fault, RunningSums
from benchmarks.experiment_users import Customers, Ints, UserPool
from marquee.experiments.ratio_estimates import Floats, difference

COVERAGE = (0.10, 0.25, 0.50, 0.75, 1.0)
STEP_MIN, DAY_MIN = 90, 1440
TUNED_AT, ALPHA = 5_000, 0.05


def run_safe_rollout(pool: UserPool, fault: Fault, seed: int, *, customers: int = CUSTOMERS) -> CanaryOutcome:
    """Run one rollout until a guardrail stops it or the day is over. ``within_margin`` is False: nothing bounds it."""
    rng = np.random.default_rng(seed)
    traffic = _RolloutTraffic(Customers.draw(pool, rng, customers), fault, rng)
    for minute in range(0, DAY_MIN, LOOK_MIN):
        traffic.advance(COVERAGE[min(minute // STEP_MIN, len(COVERAGE) - 1)] / 2)
        if traffic.is_harmed():
            return CanaryOutcome("back", minute + LOOK_MIN, traffic.exposed, False)
    return CanaryOutcome("promote", DAY_MIN, traffic.exposed, False)


def one_sided_width(users: float, variance: float) -> float:
    """Return the distance of the estimate from its bound, by the number of users.

    It is equation 161 of Waudby-Smith et al., arXiv 2103.06476, which GrowthBook uses.
    """
    tuned = -2 * math.log(ALPHA)
    rho2 = (tuned + math.log(tuned + 1)) / TUNED_AT
    scaled = users * rho2 + 1
    return math.sqrt(variance * users * 2 * scaled * math.log(1 + math.sqrt(scaled) / (2 * ALPHA)) / (users**2 * rho2))


class _RolloutTraffic(CanaryTraffic):
    """Traffic that also keeps the squared errors of the model which serves each covered user."""

    def __init__(self, customers: Customers, fault: Fault, rng: np.random.Generator) -> None:
        size = len(customers.real)
        self._served = RunningSums(size), RunningSums(size)
        super().__init__(customers, fault, rng)

    def record_errors(self, user: Ints, old: Floats, new: Floats) -> None:
        covered = self._enrolment[user] < 2 * self.share
        user, old, new = user[covered], old[covered], new[covered]
        self._add(self._served, user, np.where(self._new[user], new, old) ** 2)

    def is_harmed(self) -> bool:
        """Return whether a sequence excludes that the new arm is as good: failures, squared error, movies begun."""
        for (control, new), sign in ((self._requests, 1), (self._served, 1), (self._lists, -1)):
            found = difference(control.sums, new.sums)
            users = float(control.sums[0] + new.sums[0])
            if np.isfinite(found.variance) and sign * found.value > one_sided_width(users, float(found.variance)):
                return True
        return False
