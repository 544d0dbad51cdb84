"""The inner loops of a sweep, compiled: draw one side's vectors, and find how far the ratings are from them.

Every row is drawn from normals that are handed in, by one thread from start to end, so that the result does
not depend on the number of threads, to the bit.

Matrices are flat arrays here, indexed with a width that the compiler knows: so it knows too that two rows do
not overlap, and keeps loops in vector registers, twice as fast as with numpy's strides. The width comes as
the length of a tuple, which is part of its type: one compilation a width, kept on disk.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from marquee.training.compiler import numba

# Sums keep their order; contraction to fused multiply-adds is allowed, and is the same in every thread.
_FAST = {"contract", "nsz", "arcp"}
# Float32 numbers of a vector register: inner loops start at multiples of it.
LANES = 16
# Ratings at a time: the Gram matrix goes through the registers once for all of them.
_BATCH = 8

Width = tuple[None, ...]


def width_of(numbers: int) -> Width:
    """The width as the functions below take it: a multiple of :data:`LANES`."""
    assert numbers % LANES == 0, f"{numbers} is no multiple of {LANES}"
    return (None,) * numbers


@numba.njit(fastmath=_FAST, error_model="numpy", inline="always")
def _add_gram(width: Any, x: Any, y: Any, t: Any, gram: Any, moment: Any) -> None:
    # gram += y^T x, the upper triangle at least; moment += y^T t. Two rows of gram at a time.
    w = len(width)
    for first in range(0, w, LANES):
        for a in range(first, first + LANES, 2):
            p0, p1, p2, p3 = y[a], y[w + a], y[2 * w + a], y[3 * w + a]
            p4, p5, p6, p7 = y[4 * w + a], y[5 * w + a], y[6 * w + a], y[7 * w + a]
            q0, q1, q2, q3 = y[a + 1], y[w + a + 1], y[2 * w + a + 1], y[3 * w + a + 1]
            q4, q5, q6, q7 = y[4 * w + a + 1], y[5 * w + a + 1], y[6 * w + a + 1], y[7 * w + a + 1]
            for b in range(first, w):
                x0, x1, x2, x3 = x[b], x[w + b], x[2 * w + b], x[3 * w + b]
                x4, x5, x6, x7 = x[4 * w + b], x[5 * w + b], x[6 * w + b], x[7 * w + b]
                gram[a * w + b] += (
                    p0 * x0 + p1 * x1 + p2 * x2 + p3 * x3 + p4 * x4 + p5 * x5 + p6 * x6 + p7 * x7
                )
                gram[a * w + w + b] += (
                    q0 * x0 + q1 * x1 + q2 * x2 + q3 * x3 + q4 * x4 + q5 * x5 + q6 * x6 + q7 * x7
                )
    for k in range(_BATCH):
        for b in range(w):
            moment[b] += t[k] * y[k * w + b]


@numba.njit(fastmath=_FAST, error_model="numpy", inline="always")
def _factorise(width: Any, gram: Any, row: Any) -> None:
    # Cholesky: gram becomes U with U^T U = gram; what is below the diagonal is left undefined. Row by row:
    # each takes what all earlier rows have to give, four at a time.
    w = len(width)
    for k in range(w):
        first = k // LANES * LANES
        for b in range(first, w):
            row[b] = gram[k * w + b]
        fours = k // 4 * 4
        for j in range(0, fours, 4):
            f0, f1 = gram[j * w + k], gram[j * w + w + k]
            f2, f3 = gram[j * w + 2 * w + k], gram[j * w + 3 * w + k]
            for b in range(first, w):
                row[b] -= (
                    f0 * gram[j * w + b]
                    + f1 * gram[j * w + w + b]
                    + f2 * gram[j * w + 2 * w + b]
                    + f3 * gram[j * w + 3 * w + b]
                )
        for j in range(fours, k):
            factor = gram[j * w + k]
            for b in range(first, w):
                row[b] -= factor * gram[j * w + b]
        inverse = np.float32(1.0) / np.sqrt(row[k])
        for b in range(first, w):
            gram[k * w + b] = row[b] * inverse


@numba.njit(fastmath=_FAST, error_model="numpy", inline="always")
def _solve(width: Any, gram: Any, moment: Any, normal: Any, out: Any) -> None:
    # U^T y = moment, then U x = y + normal: x has mean Gram^-1 moment and covariance Gram^-1.
    w = len(width)
    for k in range(w):
        value = moment[k] / gram[k * w + k]
        for b in range(k + 1, w):
            moment[b] -= gram[k * w + b] * value
        moment[k] = value + normal[k]
    for k in range(w - 1, -1, -1):
        value = moment[k] / gram[k * w + k]
        out[k] = value
        for b in range(k):
            moment[b] -= gram[b * w + k] * value


@numba.njit(parallel=True, fastmath=_FAST, cache=True, error_model="numpy")
def draw_side(
    width: Any,
    bounds: Any,
    start: Any,
    column: Any,
    rating: Any,
    others: Any,
    row_noise: Any,
    column_noise: Any,
    alpha: Any,
    prior_precision: Any,
    prior_moment: Any,
    normals: Any,
    out: Any,
) -> None:
    """Draw the vectors of one side ("rows"), given those of the other ("columns").

    - ``bounds`` int64 [tasks + 1]: the rows of each task, cut so that all have about the same work
    - ``start`` int64 [rows + 1], ``column`` int32 [ratings], ``rating`` float32 [ratings]: the ratings by
      row, centred on the global mean
    - ``others`` float32 [columns, width]: the other side's vectors, the last entry being the bias
    - ``row_noise``, ``column_noise`` float32: h, the noise weight of each row and column
    - ``alpha``: the precision of a rating
    - ``prior_precision`` float32 [width * width], ``prior_moment`` float32 [rows, width]: the precision times
      the mean of each row's prior
    - ``normals`` float32 [rows, width]: standard normals
    - ``out`` float32 [rows, width]: the drawn vectors
    """
    w = len(width)
    for task in numba.prange(bounds.shape[0] - 1):
        gram = np.empty(w * w, np.float32)
        moment = np.empty(w, np.float32)
        buffer = np.empty(w, np.float32)
        block = np.zeros(_BATCH * w, np.float32)
        weighted = np.empty(_BATCH * w, np.float32)
        target = np.zeros(_BATCH, np.float32)
        for row in range(bounds[task], bounds[task + 1]):
            gram[:] = prior_precision
            moment[:] = prior_moment[row]
            scale = np.float32(alpha * row_noise[row])
            for position in range(start[row], start[row + 1], _BATCH):
                count = min(_BATCH, start[row + 1] - position)
                for k in range(count):
                    j = column[position + k]
                    weight = scale * column_noise[j]
                    target[k] = rating[position + k] - others[j, w - 1]
                    for b in range(w):
                        block[k * w + b] = others[j, b]
                    block[k * w + w - 1] = np.float32(1.0)
                    for b in range(w):
                        weighted[k * w + b] = weight * block[k * w + b]
                weighted[count * w :] = np.float32(0.0)
                _add_gram(width, block, weighted, target, gram, moment)
            _factorise(width, gram, buffer)
            _solve(width, gram, moment, normals[row], out[row])


@numba.njit(fastmath=_FAST, error_model="numpy", inline="always")
def _dot(width: Any, x: Any, columns: Any, j: Any) -> Any:
    # x . columns[j]. Eight sums beside each other, then the one of those: the order is written down, so that
    # the compiler may use vector registers without leave to choose it.
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = np.float32(0.0)
    for b in range(0, len(width), 8):
        s0 += x[b] * columns[j, b]
        s1 += x[b + 1] * columns[j, b + 1]
        s2 += x[b + 2] * columns[j, b + 2]
        s3 += x[b + 3] * columns[j, b + 3]
        s4 += x[b + 4] * columns[j, b + 4]
        s5 += x[b + 5] * columns[j, b + 5]
        s6 += x[b + 6] * columns[j, b + 6]
        s7 += x[b + 7] * columns[j, b + 7]
    return ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7))


@numba.njit(parallel=True, fastmath=_FAST, cache=True, error_model="numpy")
def squared_residuals(
    width: Any,
    bounds: Any,
    start: Any,
    column: Any,
    rating: Any,
    rows: Any,
    columns: Any,
    column_noise: Any,
    out: Any,
    by_row: Any,
) -> None:
    """``out`` float32 [ratings] becomes (rating - row bias - column bias - dot product)^2.

    Ratings are centred on the global mean. ``by_row`` float64 [rows] becomes the sums of ``out``, weighted by
    ``column_noise``.
    """
    w = len(width)
    for task in numba.prange(bounds.shape[0] - 1):
        mine = np.empty(w, np.float32)
        for row in range(bounds[task], bounds[task + 1]):
            mine[:] = rows[row]
            mine[w - 1] = np.float32(1.0)  # Times the column's bias.
            bias = rows[row, w - 1]
            weighted = 0.0
            for position in range(start[row], start[row + 1]):
                j = column[position]
                away = rating[position] - bias - _dot(width, mine, columns, j)
                square = away * away
                out[position] = square
                weighted += square * column_noise[j]
            by_row[row] = weighted


@numba.njit(parallel=True, fastmath=_FAST, cache=True, error_model="numpy")
def sums_by_column(bounds: Any, start: Any, column: Any, square: Any, row_noise: Any, sums: Any) -> None:
    """``sums`` float64 [tasks, columns]: each task's sums of ``square`` by column, weighted by ``row_noise``."""
    for task in numba.prange(bounds.shape[0] - 1):
        sums[task] = 0.0
        for row in range(bounds[task], bounds[task + 1]):
            for position in range(start[row], start[row + 1]):
                sums[task, column[position]] += square[position] * row_noise[row]


@numba.njit(cache=True)
def group(row: Any, column: Any, rating: Any, place: Any, columns: Any, ratings: Any) -> None:
    """Put ``column`` and ``rating`` in order of their ``row``, those of one row in the order in which they come.

    ``place`` int64 [rows]: where each row begins; it is used up.
    """
    for n in range(row.shape[0]):
        at = place[row[n]]
        columns[at] = column[n]
        ratings[at] = rating[n]
        place[row[n]] = at + 1
