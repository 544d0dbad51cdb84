"""Simulated attacks on an experiment by fake accounts of the new arm.

The accounts request lists and watch nothing, so that the guardrail `watched` rolls the experiment back.
"""

from __future__ import annotations

import numpy as np

from marquee.experiments.ratio_estimates import Estimate, Floats, difference, sum_users
from marquee.experiments.sequences import log_e_harm_mixed

USERS, LISTS, RATE = 2_000, 6.0, 0.3
"""Number of honest users in each arm, their mean number of lists, and the mean number of movies begun per list."""
MARGIN = 0.2 * RATE  # Movies begun per list.
_MIN_CAP = 20.0  # Lists.
GUARDRAILS, ROLL_BACK = 4, 20.0
"""Number of guardrails, and the mean e-value at which the controller rolls back; the other three have e-value 0."""


def share_rolled_back(accounts: int, lists: int, runs: int, seed: int, *, capped: bool) -> float:
    """Return the share of experiments with equal arms that are rolled back after one look.

    The attacker has ``accounts`` accounts in the new arm, each of which requests ``lists`` lists. If ``capped``, the
    lists of one user count up to four times the median over users, as in :mod:`marquee.monitoring.experiment_sums`.
    ``runs`` is the number of simulated experiments.
    """
    rng = np.random.default_rng([seed, accounts, lists])
    harmed = 0
    for _ in range(runs):
        control, (y, x) = _draw_users(rng), _draw_users(rng)
        attacked = np.concatenate([y, np.zeros(accounts)]), np.concatenate([x, np.full(accounts, float(lists))])
        usual = max(4 * float(np.median(np.concatenate([control[1], attacked[1]]))), _MIN_CAP)
        cap = usual if capped else None
        found = difference(_sum(*control, cap), _sum(*attacked, cap))
        harm = Estimate(-found.value, found.variance)
        log_e = float(log_e_harm_mixed(harm, MARGIN, RATE))
        harmed += np.exp(min(log_e, 700.0)) / GUARDRAILS >= ROLL_BACK
    return harmed / runs


def _draw_users(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return the number of movies begun and the number of lists of each honest user, [USERS] each."""
    lists = 1 + rng.poisson(rng.lognormal(np.log(LISTS - 1) - 0.32, 0.8, USERS))
    rates = rng.beta(3, 7, USERS)
    return rng.binomial(lists, rates).astype(float), lists.astype(float)


def _sum(y: Floats, x: Floats, cap: float | None) -> Floats:
    """Return the sums over users; a user with more than ``cap`` lists is scaled down to ``cap``."""
    if cap is not None:
        scale = np.minimum(1, cap / x)
        y, x = y * scale, x * scale
    return sum_users(y, x)
