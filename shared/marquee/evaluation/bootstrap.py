"""Bootstrap intervals over users: of arrays, and of a stream in memory that does not grow with ratings and users.

Users are resampled, not ratings, because the ratings of one user are not independent. In a stream the weight of a user
in a resample is a Poisson variable with mean 1. It is seeded with the user id, so that a user always has the same
weights. See Chamandy et al., "Estimating Uncertainty for Massive Data Streams" (2012).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import exp, factorial

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


class ErrorSums:
    """Sums of errors, in total and in each resample, which add up over parts of the predictions."""

    def __init__(self) -> None:
        # By column: numbers of ratings, squared and absolute errors.
        self._sums = np.zeros(3)
        self._resampled = np.zeros((3, RESAMPLES))

    def add(self, sums: Floats, weights: NDArray[np.uint8]) -> None:
        """Add predictions for users [n_users, 3] whose weights [n_users, RESAMPLES] are given.

        The columns of ``sums`` are the number of a user's ratings, and the sums of their squared and absolute errors in
        rating points.
        """
        self._sums += sums.sum(0)
        self._resampled += sums.T @ weights.astype(np.float64)

    def __iadd__(self, other: ErrorSums) -> ErrorSums:
        self._sums += other._sums
        self._resampled += other._resampled
        return self

    def accuracy(self) -> Accuracy | None:
        """Return the accuracy so far; None before the first rating."""
        n = int(self._sums[0])
        if not n:
            return None
        not_empty = self._resampled[0] > 0
        means = self._resampled[1:, not_empty] / self._resampled[0, not_empty]
        mse, mae = self._sums[1:] / n
        return Accuracy(n, _metric(float(mse) ** 0.5, means[0] ** 0.5), _metric(float(mae), means[1]))


def draw_poisson_weights(user_ids: Sequence[str], resamples: int) -> NDArray[np.uint8]:
    """Return the weight of each user in each resample, [n_users, resamples].

    The draws are those of SplitMix64 (Steele et al., 2014), seeded with a hash of the id; a word has four of 16 bits.
    """
    seeds = b"".join(hashlib.sha256(user_id.encode()).digest()[:8] for user_id in user_ids)
    steps = np.arange(1, -(-resamples // 4) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    words = np.frombuffer(seeds, ">u8").astype(np.uint64)[:, None] + steps
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        words = (words ^ (words >> np.uint64(shift))) * np.uint64(factor)
    words ^= words >> np.uint64(31)
    weights: NDArray[np.uint8] = _POISSON[words.astype("<u8", copy=False).view("<u2")[:, :resamples]]
    return weights


def _poisson_quantiles() -> NDArray[np.uint8]:
    """Return the quantiles of the Poisson distribution with mean 1 at the middles of 65,536 equal intervals."""
    cumulative = np.cumsum([exp(-1) / factorial(k) for k in range(12)])
    return np.searchsorted(cumulative, (np.arange(1 << 16) + 0.5) / (1 << 16)).astype(np.uint8)


_POISSON = _poisson_quantiles()


def _metric(value: float, resampled: NDArray[np.float64]) -> Metric:
    if not len(resampled):
        return Metric(value)
    return Metric(value, *percentile_interval(resampled, INTERVAL))
