"""Intervals for a figure: users are drawn again and again, since one user's ratings are not independent."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_CHUNK = 64  # resamples at a time: memory stays at 64 numbers a user


class Estimate(msgspec.Struct, frozen=True):
    """A number with its interval, and what it was measured on: ``data`` is the SHA-256 of the dataset."""

    value: float
    low: float
    high: float
    users: int
    seed: int
    data: str


def ratio_of_sums(
    sums: Floats, counts: Floats, *, resamples: int, interval: float, seed: int, data: str, root: bool = False
) -> Estimate:
    """``sum(sums) / sum(counts)`` over users [n_users], or its square root, with the percentile interval.

    The mean of a number a user: ``counts`` all 1. RMSE: squared errors, numbers of ratings, ``root``.
    """
    if not len(sums):
        return Estimate(float("nan"), float("nan"), float("nan"), 0, seed, data)
    drawn = np.concatenate(list(_resampled(sums, counts, resamples, seed)))
    low, high = np.quantile(drawn, [(1 - interval) / 2, (1 + interval) / 2])
    numbers = [float(sums.sum() / counts.sum()), float(low), float(high)]
    value, low, high = (number**0.5 if root else number for number in numbers)
    return Estimate(value, low, high, len(sums), seed, data)


def _resampled(sums: Floats, counts: Floats, resamples: int, seed: int) -> list[Floats]:
    rng = np.random.default_rng(seed)
    n = len(sums)
    ratios = []
    for start in range(0, resamples, _CHUNK):
        weights = rng.multinomial(n, np.full(n, 1 / n), size=min(_CHUNK, resamples - start))
        ratios.append((weights @ sums) / (weights @ counts))
    return ratios
