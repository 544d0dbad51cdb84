"""Streaming RMSE and MAE with bootstrap intervals, in memory independent of the number of ratings and users.

The bootstrap resamples users, because the ratings of one user are not independent. The weight of a user in a resample
is a Poisson variable with mean 1. It is seeded with the user id, so that a user always has the same weights. See
Chamandy et al., "Estimating Uncertainty for Massive Data Streams" (2012).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from marquee.evaluation.bootstrap import percentile_interval
from marquee.registry.manifest import Metric

RESAMPLES = 200
INTERVAL = 0.95


@dataclass(frozen=True, slots=True)
class Accuracy:
    """RMSE and MAE over ``ratings`` ratings, each with its 95 % interval."""

    ratings: int
    rmse: Metric
    mae: Metric


class StreamingErrors:
    """Sums of errors, in total and in each resample."""

    def __init__(self) -> None:
        self._n = 0
        self._sums = np.zeros(2)  # of squared and of absolute errors
        self._weights = np.zeros(RESAMPLES)
        self._weighted = np.zeros((2, RESAMPLES))

    def add(self, user_id: str, ratings: int, squared_errors: float, absolute_errors: float) -> None:
        """Add predictions for one user: the number of ratings, and the sums of their errors in rating points."""
        sums = np.array([squared_errors, absolute_errors])
        weights = poisson_weights(user_id).astype(np.float64)
        self._n += ratings
        self._sums += sums
        self._weights += ratings * weights
        self._weighted += sums[:, None] * weights

    def accuracy(self) -> Accuracy | None:
        """Return the accuracy so far; None before the first rating."""
        if not self._n:
            return None
        not_empty = self._weights > 0
        means = self._weighted[:, not_empty] / self._weights[not_empty]
        mse, mae = self._sums / self._n
        return Accuracy(self._n, _metric(float(mse) ** 0.5, means[0] ** 0.5), _metric(float(mae), means[1]))


@lru_cache(maxsize=50_000)  # 200 bytes a user.
def poisson_weights(user_id: str) -> NDArray[np.uint8]:
    """Return the weight of the user in each resample, [RESAMPLES]."""
    return draw_poisson_weights(user_id, RESAMPLES)


def draw_poisson_weights(user_id: str, resamples: int) -> NDArray[np.uint8]:
    """Return the weight of the user in each of ``resamples``, [resamples]."""
    seed = int.from_bytes(hashlib.sha256(user_id.encode()).digest()[:8], "big")
    return np.random.Generator(np.random.PCG64(seed)).poisson(1.0, resamples).astype(np.uint8)


def _metric(value: float, resampled: NDArray[np.float64]) -> Metric:
    if not len(resampled):
        return Metric(value)
    return Metric(value, *percentile_interval(resampled, INTERVAL))
