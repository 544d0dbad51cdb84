"""Top-n selection with exclusion of seen items, on NumPy alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Scores: TypeAlias = "NDArray[np.float32]"
Items: TypeAlias = "NDArray[np.intp]"

_PER_COLUMN = 64
_NO_ITEMS: Items = np.empty(0, dtype=np.intp)


def top_n(scores: Scores, n: int, seen: Sequence[int] | NDArray[np.integer] = ()) -> Items:
    """Return the rows of the ``n`` best items, best first, without those of ``seen``.

    ``scores`` [n_items] are finite. The call modifies a writable array temporarily and restores it, so no other thread
    may use it meanwhile. ``seen`` holds rows in the order in which they were seen, oldest first; of a repeated row the
    last entry counts. Ties go to the lower row, so that equal scores give the same list everywhere.

    If fewer than ``n`` items are unseen, the items seen longest ago fill the list, oldest first. A short list is worse
    than an item seen years ago. The result is shorter than ``n`` only if there are fewer items.
    """
    n = min(n, len(scores))
    if not len(seen):
        return _select_best(scores, n)
    rows = np.asarray(seen, dtype=np.intp)
    if not scores.flags.writeable:
        scores = scores.copy()
    masked = scores[rows]
    scores[rows] = -np.inf
    try:
        return _select_unseen_first(scores, n, rows)
    finally:
        scores[rows] = masked


def _select_unseen_first(masked: Scores, n: int, seen: Items) -> Items:
    # A lower bound, because ``seen`` may repeat rows; counted exactly only if it is too low.
    n_unseen = len(masked) - len(seen)
    if n_unseen < n:
        n_unseen = int(np.count_nonzero(masked != -np.inf))
    best = _select_best(masked, min(n, n_unseen))
    if len(best) == n:
        return best
    return np.concatenate([best, _oldest_first(seen)[: n - len(best)]])


def _select_best(scores: Scores, n: int) -> Items:
    """Return the ``n`` best rows. Only rows that reach a lower bound of the n-th score are sorted."""
    if n <= 0:
        return _NO_ITEMS
    candidates = (scores >= _lower_bound(scores, n)).nonzero()[0]
    order = (-scores[candidates]).argsort(kind="stable")
    best: Items = candidates[order[:n]]
    return best


def _lower_bound(scores: Scores, n: int) -> np.float32:
    """Return a close lower bound of the n-th best score.

    The n-th best of the maxima of disjoint groups is such a bound. Computing the maxima reads the scores once, with
    SIMD instructions; partitioning all scores takes ten times as long.
    """
    groups = len(scores) // _PER_COLUMN
    if groups < 2 * n:
        bound: np.float32 = np.partition(scores, len(scores) - n)[len(scores) - n]
        return bound
    maxima = scores[: groups * _PER_COLUMN].reshape(_PER_COLUMN, groups).max(axis=0)
    maxima.partition(groups - n)
    bound = maxima[groups - n]
    return bound


def _oldest_first(rows: Items) -> Items:
    """Return the distinct rows in the order of their last occurrence."""
    newest_first = rows[::-1]
    _, first = np.unique(newest_first, return_index=True)
    return newest_first[np.sort(first)[::-1]]
