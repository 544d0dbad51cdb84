"""Ranking metrics of each user."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def top_unseen(scores: Floats, seen: Flags, length: int) -> NDArray[np.int64]:
    """Return the ``length`` best unseen items of each user, best first: [n_users, length].

    Of equal scores the lower row comes first. The result owns its memory, so that it keeps no array of all
    items alive.
    """
    length = min(length, scores.shape[1])
    best = np.empty((len(scores), length), np.int64)
    for user in range(len(scores) if length else 0):
        best[user] = _smallest(np.where(seen[user], np.inf, -scores[user]), length)
    return best


def _smallest(keys: Floats, length: int) -> NDArray[np.int64]:
    """Return the first ``length`` entries of a stable ``argsort`` of ``keys``, without sorting all of them."""
    limit = np.partition(keys, length - 1)[length - 1]
    candidates = np.flatnonzero(~(keys > limit))  # NaN is no reason to leave a key out: it sorts last.
    return candidates[np.argsort(keys[candidates], kind="stable")[:length]]


def ndcg(hits: Flags, n_relevant: NDArray[np.int64]) -> Floats:
    """Return the normalized discounted cumulative gain of each user (Järvelin and Kekäläinen, 2002).

    ``hits`` [n_users, k]: true where the item in that position is relevant. ``n_relevant`` [n_users], above 0.
    """
    discounts = 1 / np.log2(np.arange(hits.shape[1]) + 2)
    ideal = np.cumsum(discounts)[np.minimum(n_relevant, hits.shape[1]) - 1]
    gains: Floats = (hits @ discounts) / ideal
    return gains


def recall(hits: Flags, n_relevant: NDArray[np.int64]) -> Floats:
    """Return the fraction of each user's relevant items that are among the ``k`` recommended."""
    fractions: Floats = hits.sum(1) / n_relevant
    return fractions
