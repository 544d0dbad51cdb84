"""Bootstrap intervals over users: of arrays, and of a stream in memory that does not grow with ratings and users.

Users are resampled, not ratings, because the ratings of one user are not independent. In a stream the weight of a user
in a resample is a Poisson variable with mean 1. It is seeded with the user id, so that a user always has the same
weights. See Chamandy et al., "Estimating Uncertainty for Massive Data Streams" (2012).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import msgspec
import numpy as np
from numpy.typing import NDArray

from marquee.registry.manifest import Metric

Floats = NDArray[np.float64]
# Maximum of resamples computed at once, and of cells of an array [resamples, n_users] (32 MB of float64).
_CHUNK, _CHUNK_CELLS = 64, 1 << 22
RESAMPLES, INTERVAL = 200, 0.95
"""Of a stream."""


class EvaluationParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of the bootstrap: number of ``resamples``, and the probability that an ``interval`` covers."""

    resamples: int
    interval: float


def ratio_of_sums(sums: Floats, counts: Floats, params: EvaluationParams, seed: int, *, root: bool = False) -> Metric:
    """Return ``sum(sums) / sum(counts)`` over users [n_users], or its square root, with its percentile interval.

    For a mean over users, ``counts`` is all 1. For the RMSE, ``sums`` are squared errors, ``counts`` numbers of
    ratings, and ``root`` is true. Without users the metric is NaN.
    """
    if not len(sums):
        return Metric(float("nan"), float("nan"), float("nan"))
    (ratios,) = resample_ratios([sums], counts, params.resamples, seed)
    values = [float(sums.sum() / counts.sum()), *percentile_interval(ratios, params.interval)]
    return Metric(*(value**0.5 if root else value for value in values))


def resample_ratios(numerators: Sequence[Floats], counts: Floats, resamples: int, seed: int) -> Floats:
    """Return the ratios of sums [len(numerators), resamples], each over users drawn with replacement.

    All ``numerators`` [n_users] share the draws, so that their ratios can be compared in pairs.
    """
    chunks = []
    for weights in draw_weights(len(counts), resamples, seed):
        totals = weights @ counts
        chunks.append(np.stack([(weights @ sums) / totals for sums in numerators]))
    return np.hstack(chunks)


def draw_weights(n: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Yield how often each of ``n`` users is drawn in each resample, in chunks [some resamples, n].

    The draws do not depend on the size of the chunks.
    """
    rng, size = np.random.default_rng(seed), max(1, min(_CHUNK, _CHUNK_CELLS // n))
    for start in range(0, resamples, size):
        draws = rng.multinomial(n, np.full(n, 1 / n), size=min(size, resamples - start))
        yield draws.astype(np.float64)


def percentile_interval(samples: Floats, interval: float) -> tuple[float, float]:
    """Return the quantiles between which the fraction ``interval`` of ``samples`` lies."""
    low, high = np.quantile(samples, [(1 - interval) / 2, (1 + interval) / 2]).tolist()
    return low, high


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
