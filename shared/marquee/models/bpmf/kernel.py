"""Compiled inner loops of a sweep: drawing one side's vectors, and the residuals of the ratings.

Each row is drawn from given normals, by one thread from start to end, and the order of every sum is fixed. So the
result does not depend on the number of threads, to the bit.

Matrices are flat arrays, indexed with a width known at compile time, and processed in whole vector registers
(:mod:`~marquee.models.bpmf.simd`). The width is passed as the length of a tuple, which is part of its type: one
compilation a width, cached on disk.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from marquee.models.bpmf import simd
from marquee.models.bpmf.simd import LANES
from marquee.models.numba_cache import numba

# Ratings processed at once: their gathered vectors fit in the first-level cache while the Gram matrix is updated.
_BATCH = 64

Width = tuple[None, ...]


def width_of(numbers: int) -> Width:
    """Return the width as the functions below take it: a multiple of :data:`~marquee.models.bpmf.simd.LANES`."""
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
    first: Any,
    count: Any,
    x: Any,
    y: Any,
    target: Any,
) -> None:
    # x [count, width]: the columns' vectors with 1 in place of the bias. y: x times the weight of the rating.
    w = len(width)
    for k in range(count):
        j = simd.load_scalar(column, first + k)
        weight = simd.broadcast(scale * simd.load_scalar(noise, j))
        for b in range(0, w - LANES, LANES):
            part = simd.load(flat, j * w + b)
            simd.store(x, k * w + b, part)
            simd.store(y, k * w + b, simd.multiply(weight, part))
        target[k] = simd.load_scalar(rating, first + k) - simd.load_scalar(flat, j * w + w - 1)
        part = simd.insert_last(simd.load(flat, j * w + w - LANES), np.float32(1.0))
        simd.store(x, k * w + w - LANES, part)
        simd.store(y, k * w + w - LANES, simd.multiply(weight, part))


@numba.njit(error_model="numpy", inline="always")
def _add_gram(width: Any, x: Any, y: Any, target: Any, count: Any, gram: Any, moment: Any) -> None:
    # gram += y^T x, at least its upper triangle; moment += y^T target.
    w = len(width)
    for a in range(0, w, LANES):
        for b in range(a, w, LANES):
            simd.add_block_product(width, (x, a), (y, b), count, (gram, a * w + b))
    zero = simd.broadcast(np.float32(0))
    for b in range(0, w, LANES):
        m0, m1, m2, m3 = simd.load(moment, b), zero, zero, zero
        unrolled = count // 4 * 4
        for k in range(0, unrolled, 4):
            t0 = simd.broadcast(simd.load_scalar(target, k))
            t1 = simd.broadcast(simd.load_scalar(target, k + 1))
            t2 = simd.broadcast(simd.load_scalar(target, k + 2))
            t3 = simd.broadcast(simd.load_scalar(target, k + 3))
            m0 = simd.fused_multiply_add(m0, t0, simd.load(y, k * w + b))
            m1 = simd.fused_multiply_add(m1, t1, simd.load(y, (k + 1) * w + b))
            m2 = simd.fused_multiply_add(m2, t2, simd.load(y, (k + 2) * w + b))
            m3 = simd.fused_multiply_add(m3, t3, simd.load(y, (k + 3) * w + b))
        for k in range(unrolled, count):
            t0 = simd.broadcast(simd.load_scalar(target, k))
            m0 = simd.fused_multiply_add(m0, t0, simd.load(y, k * w + b))
        simd.store(moment, b, simd.add(simd.add(m0, m1), simd.add(m2, m3)))


@numba.njit(error_model="numpy", inline="always")
def _factorize(width: Any, gram: Any) -> None:
    # Cholesky factors of sixteen matrices at once, [width, width, 16]: gram becomes U with U^T U = gram, except that
    # the diagonal becomes its inverse. The part below the diagonal is left undefined.
    w = len(width)
    for k in range(w):
        for b in range(k // 4 * 4, w, 4):
            u0, u1 = simd.load(gram, (k * w + b) * LANES), simd.load(gram, (k * w + b + 1) * LANES)
            u2, u3 = simd.load(gram, (k * w + b + 2) * LANES), simd.load(gram, (k * w + b + 3) * LANES)
            for j in range(k):
                f = simd.load(gram, (j * w + k) * LANES)
                u0 = simd.fused_negate_multiply_add(u0, f, simd.load(gram, (j * w + b) * LANES))
                u1 = simd.fused_negate_multiply_add(u1, f, simd.load(gram, (j * w + b + 1) * LANES))
                u2 = simd.fused_negate_multiply_add(u2, f, simd.load(gram, (j * w + b + 2) * LANES))
                u3 = simd.fused_negate_multiply_add(u3, f, simd.load(gram, (j * w + b + 3) * LANES))
            simd.store(gram, (k * w + b) * LANES, u0)
            simd.store(gram, (k * w + b + 1) * LANES, u1)
            simd.store(gram, (k * w + b + 2) * LANES, u2)
            simd.store(gram, (k * w + b + 3) * LANES, u3)
        inverse = simd.reciprocal_sqrt(simd.load(gram, (k * w + k) * LANES))
        for b in range(k + 1, w):
            scaled = simd.multiply(inverse, simd.load(gram, (k * w + b) * LANES))
            simd.store(gram, (k * w + b) * LANES, scaled)
        simd.store(gram, (k * w + k) * LANES, inverse)


@numba.njit(error_model="numpy", inline="always")
def _solve(width: Any, gram: Any, moment: Any, normal: Any) -> None:
    # Solve U^T y = moment, then U x = y + normal: x has mean Gram^-1 moment and covariance Gram^-1. It overwrites
    # moment. All are [width, 16].
    w = len(width)
    for k in range(w):
        m = simd.load(moment, k * LANES)
        for j in range(k):
            m = simd.fused_negate_multiply_add(m, simd.load(gram, (j * w + k) * LANES), simd.load(moment, j * LANES))
        simd.store(moment, k * LANES, simd.multiply(m, simd.load(gram, (k * w + k) * LANES)))
    for k in range(w - 1, -1, -1):
        m = simd.add(simd.load(moment, k * LANES), simd.load(normal, k * LANES))
        for b in range(k + 1, w):
            m = simd.fused_negate_multiply_add(m, simd.load(gram, (k * w + b) * LANES), simd.load(moment, b * LANES))
        simd.store(moment, k * LANES, simd.multiply(m, simd.load(gram, (k * w + k) * LANES)))


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

    - ``bounds`` int64 [tasks + 1]: the rows of each task, of about equal work
    - ``start`` int64 [rows + 1], ``column`` int32 [ratings], ``rating`` float32 [ratings]: the ratings by
      row, centered on the global mean
    - ``others`` float32 [columns, width]: the other side's vectors; the last entry is the bias
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
        gram = simd.aligned_zeros(w * w)
        moment = simd.aligned_zeros(w)
        x = simd.aligned_zeros(_BATCH * w)
        y = simd.aligned_zeros(_BATCH * w)
        target = simd.aligned_zeros(_BATCH)
        # Sixteen rows side by side: [width, width, 16] and [width, 16]. The identity in unused lanes.
        grams = simd.aligned_zeros(w * w * LANES)
        for a in range(w):
            simd.store(grams, (a * w + a) * LANES, simd.broadcast(np.float32(1.0)))
        moments = simd.aligned_zeros(w * LANES)
        normal = simd.aligned_zeros(w * LANES)
        for first in range(bounds[task], bounds[task + 1], LANES):
            rows = min(LANES, bounds[task + 1] - first)
            for lane in range(rows):
                row = first + lane
                gram[:] = prior_precision
                moment[:] = prior_moment[row]
                scale = np.float32(alpha * row_noise[row])
                for begin in range(start[row], start[row + 1], _BATCH):
                    count = min(_BATCH, start[row + 1] - begin)
                    _gather(width, scale, column, rating, flat, column_noise, begin, count, x, y, target)
                    _add_gram(width, x, y, target, count, gram, moment)
                for a in range(w):
                    for b in range(a, w):
                        grams[(a * w + b) * LANES + lane] = gram[a * w + b]
                    moments[a * LANES + lane] = moment[a]
                    normal[a * LANES + lane] = normals[row, a]
            _factorize(width, grams)
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
    """Write (rating - row bias - column bias - dot product)^2 to ``out`` float32 [ratings].

    Ratings are centered on the global mean. The sums of ``out`` by row, weighted by ``column_noise``, are written to
    ``by_row`` float64 [rows].
    """
    w = len(width)
    flat = columns.ravel()
    for task in numba.prange(bounds.shape[0] - 1):
        vector = simd.aligned_zeros(w)
        for row in range(bounds[task], bounds[task + 1]):
            vector[:] = rows[row]
            vector[w - 1] = np.float32(1.0)  # Multiplied by the column's bias.
            bias = rows[row, w - 1]
            weighted = 0.0
            for position in range(start[row], start[row + 1]):
                j = simd.load_scalar(column, position)
                products = simd.multiply(simd.load(vector, 0), simd.load(flat, j * w))
                for b in range(LANES, w, LANES):
                    products = simd.fused_multiply_add(products, simd.load(vector, b), simd.load(flat, j * w + b))
                residual = simd.load_scalar(rating, position) - bias - simd.horizontal_sum(products)
                square = residual * residual
                out[position] = square
                weighted += square * simd.load_scalar(column_noise, j)
            by_row[row] = weighted


@numba.njit(parallel=True, cache=True, error_model="numpy")
def sums_by_column(bounds: Any, start: Any, column: Any, square: Any, row_noise: Any, sums: Any) -> None:
    """Write each task's sums of ``square`` by column, weighted by ``row_noise``, to ``sums`` [tasks, columns]."""
    for task in numba.prange(bounds.shape[0] - 1):
        sums[task] = 0.0
        for row in range(bounds[task], bounds[task + 1]):
            for position in range(start[row], start[row + 1]):
                sums[task, column[position]] += square[position] * row_noise[row]


@numba.njit(cache=True)
def group_ratings(row: Any, column: Any, rating: Any, position: Any, columns: Any, ratings: Any) -> None:
    """Write ``column`` and ``rating`` to ``columns`` and ``ratings`` in order of their ``row``; a stable sort.

    ``position`` int64 [rows]: first position of each row in the output. It is overwritten.
    """
    for n in range(row.shape[0]):
        slot = position[row[n]]
        columns[slot] = column[n]
        ratings[slot] = rating[n]
        position[row[n]] = slot + 1
