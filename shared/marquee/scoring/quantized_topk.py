"""Exact top-n search that prunes candidates with 16-bit integer vectors.

Item vectors and the query are rounded to integers, so that their inner products are exact integers too. By
Cauchy-Schwarz the rounding errors bound the distance of such a product from the true score. The bound is the same for
all items. An item that lies more than twice the bound below the n-th best cannot be among the n best.
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

# Range of the integer scores, 16 bits; the lowest value marks excluded items.
_HIGHEST, _LOWEST = 32_760, -32_768
# Length of the longest item vector and of the query, in units: rounding then costs both the same.
_LENGTH = math.sqrt(_HIGHEST)
_PER_GROUP = 64
# Candidates are rescored only up to one item in this many. With more, the product of all items is as fast.
_MIN_ITEMS_PER_CANDIDATE = 8
# Items quantized in one step, so that their numbers stay in the processor's cache.
_BLOCK = 4_096
# Numbers in the catalog's vectors below which the full product is as fast.
_MIN_SIZE = 200_000


def build_quantized_topk(vectors: Floats, *, min_size: int = _MIN_SIZE) -> QuantizedTopK | None:
    """Return a :class:`QuantizedTopK` over ``vectors`` [n_items, r].

    Returns None for fewer than ``min_size`` numbers, or numbers too small or too large to quantize.
    """
    if vectors.size < min_size:
        return None
    max_length = max(math.sqrt(np.einsum("ij,ij->i", block, block).max()) for block in _split_blocks(vectors))
    return QuantizedTopK(vectors, _LENGTH / max_length) if _is_representable(max_length) else None


class QuantizedTopK:
    """Index of ``vectors`` [n_items, r], quantized in units of 1 / ``scale``. Safe to share between threads."""

    def __init__(self, vectors: Floats, scale: float) -> None:
        self._vectors = vectors
        n_items, r = vectors.shape
        self._groups = -(-n_items // _PER_GROUP)
        # Factor-major, so that SIMD instructions add up many items at a time.
        self._codes = np.zeros((r, self._groups * _PER_GROUP), np.int16)
        max_square = max_square_error = 0.0
        for number, block in enumerate(_split_blocks(vectors)):
            units = block * np.float32(scale)
            codes = np.rint(units)
            units -= codes
            max_square = max(max_square, float(np.einsum("ij,ij->i", codes, codes).max()))
            max_square_error = max(max_square_error, float(np.einsum("ij,ij->i", units, units).max()))
            self._codes[:, number * _BLOCK : number * _BLOCK + len(block)] = codes.T
        self._max_length, self._max_error = math.sqrt(max_square), math.sqrt(max_square_error)
        # Rounding may add half a unit to each number of the query; its products still fit into 16 bits.
        self._query_length = max(_HIGHEST / self._max_length - math.sqrt(r) / 2, 0.0)
        self._float_error = 1 + r / 100  # Upper bound of the float32 rounding error of a score, in units.
        self._scores = np.empty(self._groups * _PER_GROUP, np.int16)
        # One thread at a time. Each NumPy call releases the GIL, and threads that hand it over between short calls
        # lose more time than they gain. One shared score buffer also stays in the cache; eight would not.
        self._lock = threading.Lock()

    def search(
        self, query: Floats, n: int, seen: NDArray[np.integer], flags: NDArray[np.bool_] | None = None
    ) -> tuple[Items, Floats] | None:
        """Return rows and scores, each [n], of the ``n`` best items for ``query`` [r] outside ``seen``, best first.

        With ``flags`` [n_items], only the items that are flagged count, and ``seen`` is not used; at least ``n`` are.
        Scores are float32, ties go to the lower row. Returns None where pruning leaves too many candidates or fewer
        than ``n`` items are unseen; the caller then has to score all items.
        """
        exact = query.astype(np.float64)
        length = math.sqrt(exact @ exact)
        if not _is_representable(length) or self._groups < 2 * n or not n:
            return None
        if flags is None and len(self._vectors) - len(seen) < n:
            return None
        units = query * np.float32(self._query_length / length)
        codes = np.rint(units)
        units -= codes
        max_distance = (
            self._max_error * self._query_length + self._max_length * math.sqrt(units @ units) + self._float_error
        )
        with self._lock:
            rows = self._find_candidates(2 * max_distance, codes.astype(np.int16), n, seen, flags)
            if len(rows) * _MIN_ITEMS_PER_CANDIDATE > len(self._vectors):
                return None
            scores = score_items(self._vectors, rows, query)
            order = (-scores).argsort(kind="stable")[:n]
        return rows[order], scores[order]

    def _find_candidates(
        self,
        slack: float,
        query: NDArray[np.int16],
        n: int,
        seen: NDArray[np.integer],
        flags: NDArray[np.bool_] | None,
    ) -> Items:
        """Return the rows at most ``slack`` units below the ``n``-th best, in ascending order."""
        scores = self._scores
        np.einsum("ji,j->i", self._codes, query, out=scores)
        scores[len(self._vectors) :] = _LOWEST
        if flags is None:
            scores.put(seen, _LOWEST)
        else:
            np.copyto(scores[: len(flags)], _LOWEST, where=~flags)
        # The n-th best of the maxima of disjoint groups is a lower bound of the n-th best of all.
        maxima = np.maximum.reduce(scores.reshape(_PER_GROUP, self._groups))
        maxima.partition(self._groups - n)
        min_score = max(int(maxima[self._groups - n]) - math.ceil(slack), _LOWEST + 1)
        rows: Items = (scores >= np.int16(min_score)).nonzero()[0]
        return rows


def score_items(vectors: Floats, rows: Items, query: Floats) -> Floats:
    """Return the scores of ``rows``. Each is summed on its own, so it does not depend on the other rows."""
    scores: Floats = np.vecdot(vectors.take(rows, axis=0), query)
    return scores


def _is_representable(length: float) -> bool:
    """Return whether float32 holds a length, its square and its reciprocal."""
    return 1e-15 < length < 1e15


def _split_blocks(vectors: Floats) -> list[Floats]:
    return [vectors[start : start + _BLOCK] for start in range(0, len(vectors), _BLOCK)]
