"""A made-up pool of users for quick simulations: heavy-tailed activity and errors, as MovieLens has them."""

from __future__ import annotations

import numpy as np
from benchmarks.experiment_users import UserPool


def make_pool(users: int = 400) -> UserPool:
    """Return users whose busiest tenth has a third of the activity, each with errors of a size of their own."""
    rng = np.random.default_rng(0)
    activity = rng.lognormal(0, 0.9, users)
    count = rng.integers(5, 40, users)
    errors = rng.standard_normal(count.sum()) * np.repeat(0.85 * rng.gamma(9, 1 / 9, users), count)
    return UserPool(activity / activity.mean(), errors, count.cumsum() - count, count)
