"""Bootstrap intervals over users.

Users are resampled, not ratings, because the ratings of one user are not independent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from marquee.registry.manifest import Metric

Floats = NDArray[np.float64]
# Maximum of resamples computed at once, and of cells of an array [resamples, n_users] (32 MB of float64).
_CHUNK, _CHUNK_CELLS = 64, 1 << 22


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
