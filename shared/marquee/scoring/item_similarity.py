"""Similarity of movies by the factors of the ranking model.

The model scores a history by ``rank_history[j] . rank_items[i]``. The length of a column of ``rank_history`` is its
gain: how much of that direction of taste the model keeps of a history. Directions in which users differ for sure have
a high gain, and those that may be noise a low one. Two movies are similar if they point into the same directions of
high gain:

    similarity(j, i) = sum over columns of gain ** 3 * v_j * v_i / |u_i| ** (1/4)   with   u_i = gain ** (3/2) * v_i

``v`` is ``rank_items`` without trend. The divisor is a part of the cosine's: it keeps movies that are similar to
everything from the top. Both powers are chosen on MovieLens 100K, by the next movie that users rate in the part before
the test (benchmarks/bench_reasons.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float32]"

GAIN_POWER, LENGTH_POWER = 3.0, 0.25
_SHORTEST = 1e-12  # A movie of which nothing is known has no direction.


class ItemSimilarity:
    """Similarity over a fixed catalog: ``rank_items`` and ``rank_history`` [n_items, r].

    The last ``popularity_columns`` of both do not count. ``trend`` [n_items] is the factor in each row of
    ``rank_items``, None for 1. Safe to share between threads.
    """

    def __init__(
        self,
        rank_items: Floats,
        rank_history: Floats,
        popularity_columns: int = 0,
        trend: Floats | None = None,
        gain_power: float = GAIN_POWER,
        length_power: float = LENGTH_POWER,
    ) -> None:
        self._items = rank_items
        gains = np.sqrt(np.einsum("ij,ij->j", rank_history, rank_history))
        gains[len(gains) - popularity_columns :] = 0
        self._weights = ((gains / max(gains.max(initial=0.0), _SHORTEST)) ** gain_power).astype(np.float32)
        self._without_trend = 1 / (np.ones(len(rank_items), np.float32) if trend is None else trend)
        squares = np.einsum("ij,ij,j->i", rank_items, rank_items, self._weights)
        lengths = np.sqrt(squares) * self._without_trend
        self._scale = (self._without_trend * np.maximum(lengths, _SHORTEST) ** -length_power).astype(np.float32)

    def scores(self, row: int) -> Floats:
        """Return the similarity of every movie to that of ``row``, [n_items]."""
        scores: Floats = self._items @ (self._items[row] * self._weights * self._without_trend[row])
        scores *= self._scale
        return scores
