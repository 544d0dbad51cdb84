"""The two inner loops of a sweep, compiled: draw one side's vectors, and compute the residuals.

Every row is drawn from normals that are handed in, by one thread from start to end, so that the result does
not depend on the number of threads, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numba
import numpy as np

# Reordering sums would be allowed to differ between builds; contraction to fused multiply-add is exact enough.
_FAST = {"contract", "nsz", "arcp"}


@cache
def draw_side(width: int) -> Callable[..., None]:
    """Compile the draw for vectors of ``width`` = K + 1 numbers, a constant so that loops unroll into registers.

    The compiled function takes, for the side that is drawn ("rows") and the other side ("columns"):

    - ``start`` int64 [rows + 1], ``column`` int32 [ratings], ``rating`` float32 [ratings]: the ratings by row,
      centred on the global mean
    - ``others`` float32 [columns, width]: the other side's vectors, the last entry being the bias
    - ``row_noise``, ``column_noise`` float32: h, the noise weight of each row and column
    - ``alpha``: the precision of a rating
    - ``prior_precision`` float32 [width, width], ``prior_mean`` float32 [rows, width]
    - ``normals`` float32 [rows, width]: standard normals
    - ``out`` float32 [rows, width]: the drawn vectors
    """
    last = width - 1

    @numba.njit(parallel=True, fastmath=_FAST, cache=True, error_model="numpy")
    def draw(
        start: Any,
        column: Any,
        rating: Any,
        others: Any,
        row_noise: Any,
        column_noise: Any,
        alpha: Any,
        prior_precision: Any,
        prior_mean: Any,
        normals: Any,
        out: Any,
    ) -> None:
        for row in numba.prange(start.shape[0] - 1):
            gram = np.zeros((width, width), np.float32)
            moment = np.zeros(width, np.float32)
            block = np.empty((4, width), np.float32)
            weight = np.empty(4, np.float32)
            begin, end = start[row], start[row + 1]
            scale = np.float32(alpha * row_noise[row])
            position = begin
            while position < end:
                # Four ratings at a time: the Gram matrix goes through the registers once for all four.
                count = min(4, end - position)
                for k in range(4):
                    if k < count:
                        j = column[position + k]
                        weight[k] = scale * column_noise[j]
                        target = weight[k] * (rating[position + k] - others[j, last])
                        for b in range(last):
                            block[k, b] = others[j, b]
                        block[k, last] = np.float32(1.0)
                        for b in range(width):
                            moment[b] += target * block[k, b]
                    else:
                        weight[k] = np.float32(0.0)
                        for b in range(width):
                            block[k, b] = np.float32(0.0)
                for a in range(width):
                    w0 = weight[0] * block[0, a]
                    w1 = weight[1] * block[1, a]
                    w2 = weight[2] * block[2, a]
                    w3 = weight[3] * block[3, a]
                    for b in range(width):
                        gram[a, b] += w0 * block[0, b] + w1 * block[1, b] + w2 * block[2, b] + w3 * block[3, b]
                position += 4
            for a in range(width):
                for b in range(width):
                    gram[a, b] += prior_precision[a, b]
                    moment[b] += prior_precision[a, b] * prior_mean[row, a]
            # Cholesky by columns: whole rows of the trailing matrix are updated, no sum has to be reordered.
            # The factor is kept as U = L^T in the upper triangle, so that the inner loops run along memory.
            for k in range(width):
                inverse = np.float32(1.0) / np.sqrt(gram[k, k])
                for b in range(k, width):
                    gram[k, b] *= inverse
                for a in range(k + 1, width):
                    factor = gram[k, a]
                    for b in range(a, width):
                        gram[a, b] -= factor * gram[k, b]
            # U^T y = moment, then U x = y + normals: x has mean (Gram)^-1 moment and covariance (Gram)^-1.
            for k in range(width):
                moment[k] /= gram[k, k]
                value = moment[k]
                for b in range(k + 1, width):
                    moment[b] -= gram[k, b] * value
            for k in range(width):
                moment[k] += normals[row, k]
            for k in range(width - 1, -1, -1):
                total = moment[k]
                for b in range(k + 1, width):
                    total -= gram[k, b] * moment[b]
                moment[k] = total / gram[k, k]
            for k in range(width):
                out[row, k] = moment[k]

    compiled: Callable[..., None] = draw
    return compiled


@cache
def residuals(width: int) -> Callable[..., None]:
    """Compile ``residual(start, column, rating, rows, columns, out)`` for vectors of ``width`` numbers.

    ``out`` float32 [ratings] becomes rating - row bias - column bias - dot product, with ratings centred on
    the global mean.
    """
    last = width - 1

    @numba.njit(parallel=True, fastmath=_FAST | {"reassoc"}, cache=True, error_model="numpy")
    def residual(start: Any, column: Any, rating: Any, rows: Any, columns: Any, out: Any) -> None:
        for row in numba.prange(start.shape[0] - 1):
            for position in range(start[row], start[row + 1]):
                j = column[position]
                total = np.float32(0.0)
                for b in range(last):
                    total += rows[row, b] * columns[j, b]
                out[position] = rating[position] - total - rows[row, last] - columns[j, last]

    compiled: Callable[..., None] = residual
    return compiled
