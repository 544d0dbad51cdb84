"""What is done with vector registers, against numpy, to the bit."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from marquee.models.bpmf.kernel import width_of
from marquee.models.bpmf.simd import (
    LANES,
    add,
    add_block_product,
    aligned_zeros,
    broadcast,
    fused_multiply_add,
    fused_negate_multiply_add,
    horizontal_sum,
    insert_last,
    load,
    load_scalar,
    multiply,
    reciprocal_sqrt,
    store,
)
from marquee.models.numba_cache import numba


def _numbers(count: int, seed: int = 0, kind: type = np.float32) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(count).astype(kind)


def _once_rounded(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """x * y + z, as exact fractions before the one rounding."""
    exact = [
        Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
        for a, b, c in zip(x.ravel(), y.ravel(), z.ravel(), strict=True)
    ]
    return np.array([_rounded(number, x.dtype) for number in exact], x.dtype).reshape(x.shape)


def _rounded(number: Fraction, kind: np.dtype) -> float:
    """To the nearest: of float64 Python's own rounding, of float32 the nearest of three."""
    if kind == np.float64:
        return number.numerator / number.denominator
    near = np.float32(number.numerator / number.denominator)
    around = [near, np.nextafter(near, np.float32(-np.inf)), np.nextafter(near, np.float32(np.inf))]
    return float(min(around, key=lambda value: abs(Fraction(float(value)) - number)))


@numba.njit
def _arithmetic(x: Any, y: Any, z: Any, out: Any) -> None:
    a, b, c = load(x, 1), load(y, 0), load(z, 0)
    for k, value in enumerate(
        (
            multiply(a, b),
            add(a, b),
            fused_multiply_add(c, a, b),
            fused_negate_multiply_add(c, a, b),
            reciprocal_sqrt(c),
            broadcast(load_scalar(x, 3)),
        )
    ):
        store(out, k * LANES, value)
    store(out, 6 * LANES, insert_last(a, load_scalar(x, 0)))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_arithmetic_of_sixteen_at_once(kind: type) -> None:
    """Loads need no alignment, and a multiply-add rounds once."""
    x, y = _numbers(LANES + 1, 0, kind), _numbers(LANES, 1, kind)
    z = np.abs(_numbers(LANES, 2, kind))
    out = np.zeros(7 * LANES, kind)
    _arithmetic(x, y, z, out)
    a, one_ = x[1:], kind(1.0)
    last = np.append(a[:-1], x[0])
    once = [_once_rounded(a, y, z), _once_rounded(-a, y, z)]
    expected = [a * y, a + y, *once, one_ / np.sqrt(z), np.full(LANES, x[3]), last]
    np.testing.assert_array_equal(out.reshape(7, LANES), np.array(expected, kind))


@numba.njit
def _total(x: Any) -> Any:
    return horizontal_sum(load(x, 0))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_sum_adds_halves_to_halves(kind: type) -> None:
    x = _numbers(LANES, 0, kind)
    expected = x
    while len(expected) > 1:
        half = len(expected) // 2
        expected = expected[:half] + expected[half:]
    assert _total(x) == expected[0]


@numba.njit
def _add_block_product(width: Any, x: Any, y: Any, count: Any, out: Any) -> None:
    add_block_product(width, (x, 0), (y, LANES), count, (out, LANES))


@pytest.mark.parametrize("count", [0, 1, 2, 7, 64])
def test_a_square_of_sums_in_the_order_of_the_rows(count: int) -> None:
    """Each of its 256 sums is of one row after the other; what lies beside it is not touched."""
    width = 2 * LANES
    x, y = _numbers(count * width).reshape(count, width), _numbers(count * width, 1).reshape(count, width)
    out = _numbers(LANES * width, 2)
    expected = out.reshape(LANES, width).copy()
    for k in range(count):
        left, right = np.meshgrid(x[k, :LANES], y[k, LANES:], indexing="ij")
        expected[:, LANES:] = _once_rounded(left, right, expected[:, LANES:])
    _add_block_product(width_of(width), x.ravel(), y.ravel(), count, out)
    np.testing.assert_array_equal(out.reshape(LANES, width), expected)


@pytest.mark.parametrize("numbers", [0, 1, LANES, 1000])
def test_aligned_memory_begins_at_a_line_of_the_cache(numbers: int) -> None:
    """From Python and from compiled code: of that many zeros."""
    for made in (aligned_zeros(numbers), _aligned_zeros(numbers)):
        assert made.shape == (numbers,)
        assert not made.any()
        assert numbers == 0 or made.ctypes.data % (4 * LANES) == 0


@numba.njit
def _aligned_zeros(numbers: Any) -> Any:
    return aligned_zeros(numbers)
