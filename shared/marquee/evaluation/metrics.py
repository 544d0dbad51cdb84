"""Numbers for each user, from which figures with intervals are made."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def top(scores: Floats, seen: Flags, length: int) -> NDArray[np.int64]:
    """The ``length`` best unseen items of each user, best first: [n_users, length]. Ties: the lower row."""
    ranked: NDArray[np.int64] = np.argsort(np.where(seen, np.inf, -scores), axis=1, kind="stable")
    return ranked[:, :length]


def ndcg(hits: Flags, n_relevant: NDArray[np.int64]) -> Floats:
    """Normalised discounted cumulative gain of each user (Järvelin and Kekäläinen, 2002).

    ``hits`` [n_users, k]: whether the item at that place is relevant. ``n_relevant`` [n_users], above 0.
    """
    discounts = 1 / np.log2(np.arange(hits.shape[1]) + 2)
    ideal = np.cumsum(discounts)[np.minimum(n_relevant, hits.shape[1]) - 1]
    gains: Floats = (hits @ discounts) / ideal
    return gains


def recall(hits: Flags, n_relevant: NDArray[np.int64]) -> Floats:
    """The share of each user's relevant items that are among the ``k`` shown."""
    fractions: Floats = hits.sum(1) / n_relevant
    return fractions
