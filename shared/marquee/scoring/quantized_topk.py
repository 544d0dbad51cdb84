"""The few items among which the best ones must be, found by whole numbers of half the size.

Vectors and taste are rounded to whole numbers, so that a sum of products is a whole number too, and exact.
How far it can lie from the true score follows from what rounding took away (Cauchy and Schwarz), and is
the same for all items: who is further below the n-th best than twice that cannot be among the n best.
"""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float32]"
Items: TypeAlias = "NDArray[np.intp]"

_HIGHEST, _LOWEST = 32_760, -32_768  # Of 16 bits; the lowest stands for items that are left out.
_LENGTH = math.sqrt(_HIGHEST)  # Of the longest item and of the taste, in units: rounding costs both alike.
_PER_GROUP = 64
_MOST = (
    8  # One item in so many, at the most: to look at more of them twice is no faster than the product of all.
)
_BLOCK = 4_096  # Items in one step of the making: their numbers stay in the cache.
_WORTHWHILE = (
    200_000  # Numbers in the catalogue's vectors; of fewer the product takes no longer than this does.
)


def build_quantized_topk(vectors: Floats, *, worthwhile: int = _WORTHWHILE) -> QuantizedTopK | None:
    """A :class:`QuantizedTopK` over items' ``vectors`` [n_items, r], or None: for fewer than ``worthwhile`` numbers,
    or numbers that are too small or too large for it.
    """
    if vectors.size < worthwhile:
        return None
    longest = max(math.sqrt(np.einsum("ij,ij->i", block, block).max()) for block in _blocks(vectors))
    return QuantizedTopK(vectors, _LENGTH / longest) if _common(longest) else None


class QuantizedTopK:
    """The items of ``vectors`` [n_items, r] in units of 1 / ``scale``. Safe to share between threads."""

    def __init__(self, vectors: Floats, scale: float) -> None:
        self._vectors = vectors
        n_items, r = vectors.shape
        self._groups = -(-n_items // _PER_GROUP)
        # By factor, so that the processor adds up many items at a time.
        self._whole = np.zeros((r, self._groups * _PER_GROUP), np.int16)
        longest = error = 0.0
        for number, block in enumerate(_blocks(vectors)):
            units = block * np.float32(scale)
            whole = np.rint(units)
            units -= whole
            longest = max(longest, float(np.einsum("ij,ij->i", whole, whole).max()))
            error = max(error, float(np.einsum("ij,ij->i", units, units).max()))
            self._whole[:, number * _BLOCK : number * _BLOCK + len(block)] = whole.T
        self._longest, self._error = math.sqrt(longest), math.sqrt(error)
        # Rounding may add half a unit to each number; no sum leaves 16 bits even so.
        self._taste = max(_HIGHEST / self._longest - math.sqrt(r) / 2, 0.0)
        self._rounding = 1 + r / 100  # More than float32 can round of a score, in units.
        self._scores = np.empty(self._groups * _PER_GROUP, np.int16)
        # One thread at a time. Each step lets go of Python's lock, and another thread that waits to do the same
        # would take it and give it back with the next: that costs more than the steps. And one room for the
        # scores stays in the cache, which eight would not.
        self._lock = threading.Lock()

    def best(self, taste: Floats, n: int, seen: NDArray[np.integer]) -> tuple[Items, Floats] | None:
        """The ``n`` best items for ``taste`` [r] outside of ``seen``, best first, of equals the lower row first.

        Their rows and their scores, [n], in float32; the items are those of any order of summation. None where not
        even a shortlist can tell them from the others, or fewer than ``n`` are left: then all have to be looked at.
        """
        exact = taste.astype(np.float64)
        length = math.sqrt(exact @ exact)
        if not _common(length) or self._groups < 2 * n or len(self._vectors) - len(seen) < n:
            return None
        units = taste * np.float32(self._taste / length)
        whole = np.rint(units)
        units -= whole
        off = self._error * self._taste + self._longest * math.sqrt(units @ units) + self._rounding
        with self._lock:
            rows = self._within(2 * off, whole.astype(np.int16), n, seen)
            if len(rows) * _MOST > len(self._vectors):
                return None
            scores = scores_of(self._vectors, rows, taste)
            order = (-scores).argsort(kind="stable")[:n]
        return rows[order], scores[order]

    def _within(self, slack: float, taste: NDArray[np.int16], n: int, seen: NDArray[np.integer]) -> Items:
        """The rows not further than ``slack`` units below the ``n``-th best, in ascending order."""
        scores = self._scores
        np.einsum("ji,j->i", self._whole, taste, out=scores)
        scores[len(self._vectors) :] = _LOWEST
        scores.put(seen, _LOWEST)
        # The n-th best of the maxima of disjoint groups is no more than the n-th best of all.
        maxima = np.maximum.reduce(scores.reshape(_PER_GROUP, self._groups))
        maxima.partition(self._groups - n)
        least = max(int(maxima[self._groups - n]) - math.ceil(slack), _LOWEST + 1)
        rows: Items = (scores >= np.int16(least)).nonzero()[0]
        return rows


def scores_of(vectors: Floats, rows: Items, taste: Floats) -> Floats:
    """The scores of some items. One sum an item, so that a score does not hang on what else was asked for."""
    scores: Floats = np.vecdot(vectors.take(rows, axis=0), taste)
    return scores


def _common(length: float) -> bool:
    """Whether float32 holds the square of a length and its reciprocal as well as the length itself."""
    return 1e-15 < length < 1e15


def _blocks(vectors: Floats) -> list[Floats]:
    return [vectors[start : start + _BLOCK] for start in range(0, len(vectors), _BLOCK)]
