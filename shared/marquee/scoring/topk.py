"""The best items of a list of scores, by numpy alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Scores: TypeAlias = "NDArray[np.float32]"
Items: TypeAlias = "NDArray[np.intp]"

_PER_COLUMN = 64
_NONE: Items = np.empty(0, dtype=np.intp)


def top_n(scores: Scores, n: int, seen: Sequence[int] | NDArray[np.integer] = ()) -> Items:
    """Return the rows of the ``n`` best items, best first, those of ``seen`` left out.

    ``scores``: shape [n_items], finite; left as they are, though an array that may be written to is
    written to meanwhile, and so must be the caller's own. ``seen``: rows in the order in which they were
    last seen, the oldest first; a row may be there twice, its last place counts. Of equal scores the lower
    row wins, so that the same scores give the same list everywhere. A user who has seen nearly everything
    still gets a full list: the items seen longest ago follow the unseen ones, oldest first, since a list
    of three items is worse than an item seen years ago. Shorter than ``n`` only where there are fewer items.
    """
    n = min(n, len(scores))
    if not len(seen):
        return _best(scores, n)
    rows = np.asarray(seen, dtype=np.intp)
    if not scores.flags.writeable:
        scores = scores.copy()
    kept = scores[rows]
    scores[rows] = -np.inf
    try:
        return _best_unseen(scores, n, rows)
    finally:
        scores[rows] = kept


def _best_unseen(masked: Scores, n: int, seen: Items) -> Items:
    # Without a set the count of unseen items may come out too low, never too high: then it is counted.
    unseen = len(masked) - len(seen)
    if unseen < n:
        unseen = int(np.count_nonzero(masked != -np.inf))
    best = _best(masked, min(n, unseen))
    if len(best) == n:
        return best
    return np.concatenate([best, _oldest_first(seen)[: n - len(best)]])


def _best(scores: Scores, n: int) -> Items:
    """The ``n`` best rows: only those that reach a bound below the n-th score are sorted."""
    if n <= 0:
        return _NONE
    candidates = (scores >= _bound(scores, n)).nonzero()[0]
    order = (-scores[candidates]).argsort(kind="stable")
    best: Items = candidates[order[:n]]
    return best


def _bound(scores: Scores, n: int) -> np.float32:
    """No more than the n-th best score, and close below it.

    The n-th best of the maxima of disjoint groups is such a bound, and finding the maxima reads the scores
    once, with the processor's widest instructions; to partition all scores takes ten times as long.
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
    """The distinct rows in the order of their last place."""
    newest_first = rows[::-1]
    _, first = np.unique(newest_first, return_index=True)
    return newest_first[np.sort(first)[::-1]]
