"""Ranking metrics of each user."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def top_unseen(scores: Floats, seen: Flags, length: int) -> NDArray[np.int64]:
    """Return the ``length`` best unseen items of each user, best first: [n_users, length].

    Of equal scores the lower row comes first.
    """
    ranked: NDArray[np.int64] = np.argsort(np.where(seen, np.inf, -scores), axis=1, kind="stable")
    return ranked[:, :length]


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
