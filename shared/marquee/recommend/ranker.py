"""The best films of a list of scores, by numpy alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]
Items = NDArray[np.intp]


def top_n(scores: Scores, n: int, seen: Sequence[int] | NDArray[np.integer] = ()) -> Items:
    """Return the rows of the ``n`` best films, best first, those of ``seen`` left out.

    ``scores``: shape [n_items], finite. ``seen``: rows in the order in which they were last seen, the
    oldest first; a row may be there twice, its last place counts. Of equal scores the lower row wins,
    so that the same scores give the same list everywhere. A user who has seen nearly everything still
    gets a full list: the films seen longest ago follow the unseen ones, oldest first, since a list of
    three films is worse than a film seen years ago. Shorter than ``n`` only where there are fewer films.
    """
    n = min(n, len(scores))
    if not len(seen):
        return _best(scores, n)
    rows = np.asarray(seen, dtype=np.intp)
    masked = scores.copy()
    masked[rows] = -np.inf
    # Without a set the count of unseen films may come out too low, never too high: then it is counted.
    unseen = len(scores) - len(rows)
    if unseen < n:
        unseen = int(np.count_nonzero(masked != -np.inf))
    best = _best(masked, min(n, unseen))
    if len(best) == n:
        return best
    return np.concatenate([best, _oldest_first(rows)[: n - len(best)]])


def _best(scores: Scores, n: int) -> Items:
    """The ``n`` best rows: select above the n-th score, then sort those few alone."""
    if n <= 0:
        return np.empty(0, dtype=np.intp)
    threshold = np.partition(scores, len(scores) - n)[len(scores) - n]
    above = np.flatnonzero(scores > threshold)
    level = np.flatnonzero(scores == threshold)[: n - len(above)]
    return np.concatenate([above[np.argsort(-scores[above], kind="stable")], level])


def _oldest_first(rows: Items) -> Items:
    """The distinct rows in the order of their last place."""
    newest_first = rows[::-1]
    _, first = np.unique(newest_first, return_index=True)
    return newest_first[np.sort(first)[::-1]]
