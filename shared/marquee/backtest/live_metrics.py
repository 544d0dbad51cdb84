"""Metrics of replayed events with intervals over users and cuts.

The ratings of one user are dependent, and so are the ratings predicted by one model. Users and cuts are therefore
resampled independently, by the pigeonhole bootstrap (Owen, *Annals of Applied Statistics* 1, 2007), which is
conservative.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from marquee.evaluation.bootstrap import EvaluationParams, percentile_interval
from marquee.registry.manifest import Metric

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# Maximum number of elements of an array [resamples, cells] in memory (32 MB).
_CHUNK_CELLS = 1 << 22

ACCURACY, RANKING = ("rmse", "mae"), ("ndcg@10", "recall@10", "recall@20")


class Cells:
    """Groups of events by user and cut, the units of the bootstrap, and the weights of its resamples."""

    def __init__(self, users: Ints, cuts: Ints, params: EvaluationParams, seed: int) -> None:
        _, user_index = np.unique(users, return_inverse=True)
        n_users, n_cuts = int(user_index.max(initial=-1)) + 1, int(cuts.max(initial=-1)) + 1
        pairs, self._cell = np.unique(user_index * max(n_cuts, 1) + cuts, return_inverse=True)
        self._user, self._cut = pairs // max(n_cuts, 1), pairs % max(n_cuts, 1)
        self._params = params
        rng = np.random.default_rng(seed)
        self._user_weights = rng.multinomial(n_users, np.full(n_users, 1 / max(n_users, 1)), params.resamples)
        self._cut_weights = rng.multinomial(n_cuts, np.full(n_cuts, 1 / max(n_cuts, 1)), params.resamples)

    def compare(self, values: Floats, others: Floats | None = None, *, root: bool = False) -> Metric:
        """Return the mean of ``values`` [events] with its interval, or its difference from that of ``others``.

        With ``root``, the square root of each mean is used. NaN marks events without a value, which both sides omit.
        """
        columns = [values] if others is None else [values, others]
        known = np.logical_and.reduce([np.isfinite(column) for column in columns])
        if not known.any():
            return Metric(float("nan"), float("nan"), float("nan"))
        sums = np.stack([self._sum(np.where(known, column, 0.0)) for column in (*columns, np.ones(len(known)))], axis=1)
        transform: Callable[[Floats], Floats] = np.sqrt if root else np.asarray
        totals = np.vstack([sums.sum(axis=0), self._resample(sums)])
        totals = totals[totals[:, -1] > 0]
        means = transform(totals[:, :-1] / totals[:, -1:])
        results = means[:, 0] if others is None else means[:, 0] - means[:, 1]
        return Metric(float(results[0]), *percentile_interval(results[1:], self._params.interval))

    def _sum(self, values: Floats) -> Floats:
        return np.bincount(self._cell, values, len(self._user)).astype(np.float64)

    def _resample(self, sums: Floats) -> Floats:
        size = max(1, _CHUNK_CELLS // max(len(sums), 1))
        parts = []
        for start in range(0, self._params.resamples, size):
            rows = slice(start, start + size)
            weights = self._user_weights[rows][:, self._user] * self._cut_weights[rows][:, self._cut]
            parts.append(weights.astype(np.float64) @ sums)
        return np.vstack(parts)


def event_metrics(predicted: Floats, ratings: Floats, position: Ints) -> dict[str, Floats]:
    """Return each metric's value by event, NaN where it has none.

    The arguments are [events]. ``predicted`` and ``ratings`` are NaN without a prediction. ``position`` is the position
    of the movie in the list, 0 if it is absent, negative without a list. An event has one relevant movie, so its NDCG
    is the discount of that position.
    """
    error = predicted - ratings
    is_listed = position >= 0
    discount = np.where((position >= 1) & (position <= 10), 1 / np.log2(np.maximum(position, 1) + 1), 0.0)
    values = {"rmse": error**2, "mae": np.abs(error), "ndcg@10": np.where(is_listed, discount, np.nan)}
    for k in (10, 20):
        hits = ((position >= 1) & (position <= k)).astype(np.float64)
        values[f"recall@{k}"] = np.where(is_listed, hits, np.nan)
    return values


def compare_each(
    cells: Cells,
    values: Mapping[str, Floats],
    others: Mapping[str, Floats] | None = None,
    rows: NDArray[np.bool_] | None = None,
) -> dict[str, Metric]:
    """Return every metric of one candidate on some events, or its paired difference from another candidate's.

    A metric without events is left out.
    """
    found = {}
    for name in (*ACCURACY, *RANKING):
        own = values[name] if rows is None else np.where(rows, values[name], np.nan)
        found[name] = cells.compare(own, None if others is None else others[name], root=name == "rmse")
    return {name: metric for name, metric in found.items() if np.isfinite(metric.value)}
