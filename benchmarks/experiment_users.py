"""Simulated customers of an experiment: MovieLens users and a real model's errors, drawn again."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from benchmarks import movielens
from benchmarks.models.fitted_algorithms import from_rating_factors
from marquee.experiments.ratio_estimates import Floats
from marquee.models.trainer_port import load_trainer, no_progress

Ints = NDArray[np.int_]
BEGUN_PER_LIST = 0.35
_TASTE_SHAPE = 2.0  # Of a gamma distribution: users differ by 70 % in how many movies of a list they begin.


@dataclass(frozen=True, slots=True)
class UserPool:
    """Real users to draw from: activity (mean 1), and the errors of a model on each user's ratings.

    The errors of user u are ``errors[first[u] : first[u] + count[u]]``.
    """

    activity: Floats
    errors: Floats
    first: Ints
    count: Ints

    @property
    def mean_squared_error(self) -> float:
        """Return the mean squared error of the customers' ratings."""
        by_user = np.add.reduceat(self.errors**2, self.first) / self.count
        return float(self.activity @ by_user / self.activity.sum())

    def draw_errors(self, rng: np.random.Generator, real: Ints) -> Floats:
        """Return one error of each of the real users ``real``."""
        rows = self.first[real] + (rng.random(len(real)) * self.count[real]).astype(int)
        return np.asarray(self.errors[rows])


@dataclass(frozen=True, slots=True)
class Customers:
    """A population: the real user behind each, the share of all activity, and a lasting taste for lists (mean 1)."""

    pool: UserPool
    real: Ints
    cumulative: Floats
    taste: Floats

    @classmethod
    def draw(cls, pool: UserPool, rng: np.random.Generator, size: int) -> Customers:
        """Draw a population of ``size``."""
        real = rng.integers(0, len(pool.activity), size)
        activity = pool.activity[real].cumsum()
        return cls(pool, real, activity / activity[-1], rng.gamma(_TASTE_SHAPE, 1 / _TASTE_SHAPE, size))

    def draw_active(self, rng: np.random.Generator, count: int) -> Ints:
        """Return the customers behind ``count`` requests or ratings, the busy ones more often."""
        return np.searchsorted(self.cumulative, rng.random(count))


@cache
def load_pool() -> UserPool:
    """Return the users of MovieLens 100K with the errors of the served rating model on the first of five folds."""
    split = next(movielens.load().folds())
    params = movielens.PARAMS
    factors = load_trainer(params.trainer)(split.train, params.trainers[params.trainer], params.seed, no_progress)
    rate = from_rating_factors(factors, split.train).candidate.rate
    assert rate is not None
    test = split.test
    order = np.argsort(test.users, kind="stable")
    errors = (test.values - rate(test.users, test.items))[order]
    _, first, count = np.unique(test.users[order], return_index=True, return_counts=True)
    activity = count / count.mean()
    return UserPool(activity, errors, first, count)
