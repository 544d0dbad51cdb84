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

# Sums keep their order; contraction to fused multiply-adds is allowed, and is the same in every thread.
_FAST = {"contract", "nsz", "arcp"}


@cache
def draw_side(width: int) -> Callable[..., None]:
    """Compile the draw for vectors of ``width`` = K + 1 numbers, a constant so that loops stay in registers.

    The compiled function takes, for the side that is drawn ("rows") and the other side ("columns"):

    - ``start`` int64 [rows + 1], ``column`` int32 [ratings], ``rating`` float32 [ratings]: the ratings by
      row, centred on the global mean
    - ``others`` float32 [columns, width]: the other side's vectors, the last entry being the bias
    - ``row_noise``, ``column_noise`` float32: h, the noise weight of each row and column
    - ``alpha``: the precision of a rating
    - ``prior_precision`` float32 [width, width], ``prior_mean`` float32 [rows, width]
    - ``normals`` float32 [rows, width]: standard normals
    - ``out`` float32 [rows, width]: the drawn vectors
    """
    last = width - 1

    jit = numba.njit(fastmath=_FAST, error_model="numpy")

    @jit
    def accumulate(block: Any, weight: Any, gram: Any) -> None:
        # Eight ratings at a time: the Gram matrix goes through the registers once for all of them.
        for a in range(width):
            w0 = weight[0] * block[0, a]
            w1 = weight[1] * block[1, a]
            w2 = weight[2] * block[2, a]
            w3 = weight[3] * block[3, a]
            w4 = weight[4] * block[4, a]
            w5 = weight[5] * block[5, a]
            w6 = weight[6] * block[6, a]
            w7 = weight[7] * block[7, a]
            for b in range(width):
                gram[a, b] += (
                    w0 * block[0, b]
                    + w1 * block[1, b]
                    + w2 * block[2, b]
                    + w3 * block[3, b]
                    + w4 * block[4, b]
                    + w5 * block[5, b]
                    + w6 * block[6, b]
                    + w7 * block[7, b]
                )

    @jit
    def factorise(gram: Any) -> None:
        # Cholesky by rows of U = L^T: whole rows of the trailing matrix are updated along memory, and no sum
        # has to be reordered.
        for k in range(width):
            inverse = np.float32(1.0) / np.sqrt(gram[k, k])
            for b in range(k, width):
                gram[k, b] *= inverse
            for a in range(k + 1, width):
                factor = gram[k, a]
                for b in range(a, width):
                    gram[a, b] -= factor * gram[k, b]

    @jit
    def solve(gram: Any, moment: Any, normal: Any, out: Any) -> None:
        # U^T y = moment, then U x = y + normal: x has mean Gram^-1 moment and covariance Gram^-1.
        for k in range(width):
            value = moment[k] / gram[k, k]
            for b in range(k + 1, width):
                moment[b] -= gram[k, b] * value
            moment[k] = value + normal[k]
        for k in range(width - 1, -1, -1):
            value = moment[k] / gram[k, k]
            out[k] = value
            for b in range(k):
                moment[b] -= gram[b, k] * value

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
            gram = prior_precision.copy()
            moment = np.zeros(width, np.float32)
            for a in range(width):
                for b in range(width):
                    moment[b] += prior_precision[a, b] * prior_mean[row, a]
            block = np.zeros((8, width), np.float32)
            weight = np.zeros(8, np.float32)
            scale = np.float32(alpha * row_noise[row])
            for position in range(start[row], start[row + 1], 8):
                count = min(8, start[row + 1] - position)
                weight[:] = np.float32(0.0)
                for k in range(count):
                    j = column[position + k]
                    weight[k] = scale * column_noise[j]
                    target = weight[k] * (rating[position + k] - others[j, last])
                    for b in range(width):
                        block[k, b] = others[j, b]
                    block[k, last] = np.float32(1.0)
                    for b in range(width):
                        moment[b] += target * block[k, b]
                accumulate(block, weight, gram)
            factorise(gram)
            solve(gram, moment, normals[row], out[row])

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
