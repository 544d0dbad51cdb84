"""The inner loops of a sweep, compiled: draw one side's vectors, and find how far the ratings are from them.

Every row is drawn from normals that are handed in, by one thread from start to end, and no sum is left to the
compiler to order: the result does not depend on the number of threads, to the bit.

Matrices are flat arrays here, indexed with a width that the compiler knows and worked on by whole vector
registers (:mod:`~marquee.models.bpmf.simd`). The width comes as the length of a tuple, which is part
of its type: one compilation a width, kept on disk.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from marquee.models.bpmf.simd import (
    LANES,
    add_square,
    aligned,
    broadcast,
    broadcast_load,
    horizontal_sum,
    inverse_root,
    load,
    minus_times,
    plus,
    plus_times,
    store,
    times,
    with_last,
)
from marquee.models.numba_cache import numba

# Ratings at a time: what is read of them stays in the nearest cache while the Gram matrix takes it up.
_BATCH = 64

Width = tuple[None, ...]


def width_of(numbers: int) -> Width:
    """The width as the functions below take it: a multiple of :data:`~marquee.models.bpmf.simd.LANES`."""
    assert numbers % LANES == 0, f"{numbers} is no multiple of {LANES}"
    return (None,) * numbers


@numba.njit(error_model="numpy", inline="always")
def _gather(
    width: Any,
    scale: Any,
    column: Any,
    rating: Any,
    flat: Any,
    noise: Any,
    at: Any,
    count: Any,
    x: Any,
    y: Any,
    target: Any,
) -> None:
    # x [count, width]: the columns' vectors, 1 in place of the bias; y: x times the rating's weight.
    w = len(width)
    for k in range(count):
        j = broadcast_load(column, at + k)
        weight = broadcast(scale * broadcast_load(noise, j))
        for b in range(0, w - LANES, LANES):
            part = load(flat, j * w + b)
            store(x, k * w + b, part)
            store(y, k * w + b, times(weight, part))
        target[k] = broadcast_load(rating, at + k) - broadcast_load(flat, j * w + w - 1)
        part = with_last(load(flat, j * w + w - LANES), np.float32(1.0))
        store(x, k * w + w - LANES, part)
        store(y, k * w + w - LANES, times(weight, part))


@numba.njit(error_model="numpy", inline="always")
def _add_gram(width: Any, x: Any, y: Any, target: Any, count: Any, gram: Any, moment: Any) -> None:
    # gram += y^T x, the upper triangle at least; moment += y^T target.
    w = len(width)
    for a in range(0, w, LANES):
        for b in range(a, w, LANES):
            add_square(width, (x, a), (y, b), count, (gram, a * w + b))
    for b in range(0, w, LANES):
        m0, m1, m2, m3 = (
            load(moment, b),
            broadcast(np.float32(0)),
            broadcast(np.float32(0)),
            broadcast(np.float32(0)),
        )
        fours = count // 4 * 4
        for k in range(0, fours, 4):
            m0 = plus_times(m0, broadcast(broadcast_load(target, k)), load(y, k * w + b))
            m1 = plus_times(m1, broadcast(broadcast_load(target, k + 1)), load(y, (k + 1) * w + b))
            m2 = plus_times(m2, broadcast(broadcast_load(target, k + 2)), load(y, (k + 2) * w + b))
            m3 = plus_times(m3, broadcast(broadcast_load(target, k + 3)), load(y, (k + 3) * w + b))
        for k in range(fours, count):
            m0 = plus_times(m0, broadcast(broadcast_load(target, k)), load(y, k * w + b))
        store(moment, b, plus(plus(m0, m1), plus(m2, m3)))


@numba.njit(error_model="numpy", inline="always")
def _factorise(width: Any, gram: Any) -> None:
    # Cholesky of sixteen matrices at a time, [width, width, 16]: gram becomes U with U^T U = gram, but for the
    # diagonal, which becomes its inverse. What is below the diagonal is left undefined.
    w = len(width)
    for k in range(w):
        for b in range(k // 4 * 4, w, 4):
            u0, u1 = load(gram, (k * w + b) * LANES), load(gram, (k * w + b + 1) * LANES)
            u2, u3 = load(gram, (k * w + b + 2) * LANES), load(gram, (k * w + b + 3) * LANES)
            for j in range(k):
                f = load(gram, (j * w + k) * LANES)
                u0 = minus_times(u0, f, load(gram, (j * w + b) * LANES))
                u1 = minus_times(u1, f, load(gram, (j * w + b + 1) * LANES))
                u2 = minus_times(u2, f, load(gram, (j * w + b + 2) * LANES))
                u3 = minus_times(u3, f, load(gram, (j * w + b + 3) * LANES))
            store(gram, (k * w + b) * LANES, u0)
            store(gram, (k * w + b + 1) * LANES, u1)
            store(gram, (k * w + b + 2) * LANES, u2)
            store(gram, (k * w + b + 3) * LANES, u3)
        inverse = inverse_root(load(gram, (k * w + k) * LANES))
        for b in range(k + 1, w):
            store(gram, (k * w + b) * LANES, times(inverse, load(gram, (k * w + b) * LANES)))
        store(gram, (k * w + k) * LANES, inverse)


@numba.njit(error_model="numpy", inline="always")
def _solve(width: Any, gram: Any, moment: Any, normal: Any) -> None:
    # U^T y = moment, then U x = y + normal: x has mean Gram^-1 moment and covariance Gram^-1; it is left in
    # moment. All [width, 16].
    w = len(width)
    for k in range(w):
        m = load(moment, k * LANES)
        for j in range(k):
            m = minus_times(m, load(gram, (j * w + k) * LANES), load(moment, j * LANES))
        store(moment, k * LANES, times(m, load(gram, (k * w + k) * LANES)))
    for k in range(w - 1, -1, -1):
        m = plus(load(moment, k * LANES), load(normal, k * LANES))
        for b in range(k + 1, w):
            m = minus_times(m, load(gram, (k * w + b) * LANES), load(moment, b * LANES))
        store(moment, k * LANES, times(m, load(gram, (k * w + k) * LANES)))


@numba.njit(parallel=True, cache=True, error_model="numpy")
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
    flat = others.ravel()
    for task in numba.prange(bounds.shape[0] - 1):
        gram = aligned(w * w)
        moment = aligned(w)
        x = aligned(_BATCH * w)
        y = aligned(_BATCH * w)
        target = aligned(_BATCH)
        # Of sixteen rows: [width, width, 16] and [width, 16]. The identity where there are fewer.
        grams = aligned(w * w * LANES)
        for a in range(w):
            store(grams, (a * w + a) * LANES, broadcast(np.float32(1.0)))
        moments = aligned(w * LANES)
        normal = aligned(w * LANES)
        for first in range(bounds[task], bounds[task + 1], LANES):
            rows = min(LANES, bounds[task + 1] - first)
            for lane in range(rows):
                row = first + lane
                gram[:] = prior_precision
                moment[:] = prior_moment[row]
                scale = np.float32(alpha * row_noise[row])
                for at in range(start[row], start[row + 1], _BATCH):
                    count = min(_BATCH, start[row + 1] - at)
                    _gather(width, scale, column, rating, flat, column_noise, at, count, x, y, target)
                    _add_gram(width, x, y, target, count, gram, moment)
                for a in range(w):
                    for b in range(a, w):
                        grams[(a * w + b) * LANES + lane] = gram[a * w + b]
                    moments[a * LANES + lane] = moment[a]
                    normal[a * LANES + lane] = normals[row, a]
            _factorise(width, grams)
            _solve(width, grams, moments, normal)
            for lane in range(rows):
                for a in range(w):
                    out[first + lane, a] = moments[a * LANES + lane]


@numba.njit(parallel=True, cache=True, error_model="numpy")
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
    flat = columns.ravel()
    for task in numba.prange(bounds.shape[0] - 1):
        mine = aligned(w)
        for row in range(bounds[task], bounds[task + 1]):
            mine[:] = rows[row]
            mine[w - 1] = np.float32(1.0)  # Times the column's bias.
            bias = rows[row, w - 1]
            weighted = 0.0
            for position in range(start[row], start[row + 1]):
                j = broadcast_load(column, position)
                products = times(load(mine, 0), load(flat, j * w))
                for b in range(LANES, w, LANES):
                    products = plus_times(products, load(mine, b), load(flat, j * w + b))
                away = broadcast_load(rating, position) - bias - horizontal_sum(products)
                square = away * away
                out[position] = square
                weighted += square * broadcast_load(column_noise, j)
            by_row[row] = weighted


@numba.njit(parallel=True, cache=True, error_model="numpy")
def sums_by_column(bounds: Any, start: Any, column: Any, square: Any, row_noise: Any, sums: Any) -> None:
    """``sums`` float64 [tasks, columns]: each task's sums of ``square`` by column, weighted by ``row_noise``."""
    for task in numba.prange(bounds.shape[0] - 1):
        sums[task] = 0.0
        for row in range(bounds[task], bounds[task + 1]):
            for position in range(start[row], start[row + 1]):
                sums[task, column[position]] += square[position] * row_noise[row]


@numba.njit(cache=True)
def group_ratings(row: Any, column: Any, rating: Any, place: Any, columns: Any, ratings: Any) -> None:
    """Put ``column`` and ``rating`` in order of their ``row``, those of one row in the order in which they come.

    ``place`` int64 [rows]: where each row begins; it is used up.
    """
    for n in range(row.shape[0]):
        at = place[row[n]]
        columns[at] = column[n]
        ratings[at] = rating[n]
        place[row[n]] = at + 1
