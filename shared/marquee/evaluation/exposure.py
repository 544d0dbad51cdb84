"""Exposure of items in recommended lists, and its inequality.

The exposure of a position is that of the logarithmic user model, 1 / log2(position + 1) (Järvelin and Kekäläinen, 2002;
Singh and Joachims, 2018). The Gini coefficient of the items' total exposure is LensKit's ``ExposureGini`` with this
weight: over the whole catalog, items without exposure included. 0 means equal exposure, and 1 that one item has all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from marquee.evaluation.bootstrap import EvaluationParams, draw_weights, percentile_interval
from marquee.registry.manifest import Metric

LENGTH = 10
"""Number of positions of a list that count."""
TOP_FRACTION = 0.01
"""Fraction of the items in :func:`share_of_top`, the most exposed ones."""
# Cells of all lists, positions times resamples, that a bootstrap computes; at least _MIN_RESAMPLES are drawn.
_MAX_CELLS, _MIN_RESAMPLES = 2_000_000_000, 100

Floats = NDArray[np.float64]
Ints = NDArray[np.integer]


def position_discounts(length: int) -> Floats:
    """Return the exposure of each position, [length], from the first on."""
    discounts: Floats = 1 / np.log2(np.arange(length) + 2)
    return discounts


def total_exposure(lists: Ints, n_items: int, weights: Floats | None = None) -> Floats:
    """Return the exposure of each item, [n_items], in ``lists`` [n_users, length].

    ``weights`` [n_users] are the weights of the lists, by default 1.
    """
    by_list = np.ones(len(lists)) if weights is None else weights
    cells = np.multiply.outer(by_list, position_discounts(lists.shape[1]))
    exposure: Floats = np.bincount(lists.ravel(), cells.ravel(), n_items).astype(np.float64)
    return exposure


def gini(values: Floats) -> float:
    """Return the Gini coefficient of ``values`` [n], which are not negative; NaN if all are 0.

    The mean difference of all pairs, divided by twice the mean (Gini, 1912).
    """
    n, total = len(values), float(values.sum())
    if not total:
        return float("nan")
    ranks = 2 * np.arange(1, n + 1) - n - 1
    return float(ranks @ np.sort(values)) / (n * total)


def share_of_top(values: Floats) -> float:
    """Return the share of the largest 1 % of ``values`` [n], at least one of them; NaN if all are 0."""
    n, total = max(1, round(TOP_FRACTION * len(values))), values.sum()
    return float(np.sort(values)[-n:].sum() / total) if total else float("nan")


def exposure_gini(lists: Ints, n_items: int, params: EvaluationParams, seed: int) -> Metric:
    """Return the Gini coefficient of exposure at :data:`LENGTH`, with its interval over users; NaN without lists.

    Resamples have fewer distinct lists, which biases the coefficient upward. The percentile interval is therefore
    shifted by the mean difference of the resamples from the value.
    """
    if not len(lists):
        return Metric(float("nan"), float("nan"), float("nan"))
    (samples,) = resample_ginis([lists], n_items, params.resamples, seed)
    value = gini(total_exposure(lists[:, :LENGTH], n_items))
    low, high = percentile_interval(samples - samples.mean() + value, params.interval)
    return Metric(value, low, min(high, 1.0))


def resample_ginis(candidates: Sequence[Ints], n_items: int, resamples: int, seed: int) -> Floats:
    """Return the Gini coefficients of each candidate's lists, [len(candidates), resamples].

    Row u of all ``candidates`` [n_users, length] is the same user, and all share the draws of users. With very many
    users there are fewer resamples, but at least 100.
    """
    n = len(candidates[0])
    resamples = min(resamples, max(_MIN_RESAMPLES, _MAX_CELLS // max(1, n * LENGTH)))
    columns = [
        [gini(total_exposure(lists[:, :LENGTH], n_items, weights)) for lists in candidates]
        for weights in _each(draw_weights(n, resamples, seed))
    ]
    return np.array(columns, np.float64).T


def _each(chunks: Iterator[Floats]) -> Iterator[Floats]:
    for chunk in chunks:
        yield from chunk
