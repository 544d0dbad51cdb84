"""Running errors with intervals, in memory that does not grow with ratings or users.

The intervals are a bootstrap over users, since one user's ratings are not independent: in each of the
resamples a user counts as often as a Poisson variable of mean 1 says, drawn from the user's id, so that he
counts the same whenever he rates. See Chamandy et al., *Estimating Uncertainty for Massive Data Streams* (2012).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from marquee.registry.manifest import Metric

RESAMPLES = 200
_INTERVAL = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """RMSE and MAE over ``ratings`` ratings, each with its 95 % interval."""

    ratings: int
    rmse: Metric
    mae: Metric


class StreamingErrors:
    """Sums of errors, and the same sums in each resample."""

    def __init__(self) -> None:
        self._n = 0
        self._sums = np.zeros(2)  # of squared and of absolute errors
        self._weights = np.zeros(RESAMPLES)
        self._weighted = np.zeros((2, RESAMPLES))

    def add(self, user_id: str, ratings: int, squares: float, absolutes: float) -> None:
        """Some predictions for one user: how many, and the sums of their errors, in points of the scale."""
        sums = np.array([squares, absolutes])
        times = _times_drawn(user_id).astype(np.float64)
        self._n += ratings
        self._sums += sums
        self._weights += ratings * times
        self._weighted += sums[:, None] * times

    def accuracy(self) -> Accuracy | None:
        """What it comes to; None before the first error."""
        if not self._n:
            return None
        drawn = self._weights > 0
        means = self._weighted[:, drawn] / self._weights[drawn]
        mse, mae = self._sums / self._n
        return Accuracy(self._n, _metric(float(mse) ** 0.5, means[0] ** 0.5), _metric(float(mae), means[1]))


@lru_cache(maxsize=50_000)  # 200 bytes a user.
def _times_drawn(user_id: str) -> NDArray[np.uint8]:
    seed = int.from_bytes(hashlib.sha256(user_id.encode()).digest()[:8], "big")
    return np.random.Generator(np.random.PCG64(seed)).poisson(1.0, RESAMPLES).astype(np.uint8)


def _metric(value: float, resampled: NDArray[np.float64]) -> Metric:
    if not len(resampled):
        return Metric(value)
    low, high = np.percentile(resampled, _INTERVAL).tolist()
    return Metric(value, low, high)
