"""SIMD intrinsics compute what NumPy computes, to the bit."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marquee.models.bpmf import simd
from marquee.models.bpmf.kernel import width_of
from marquee.models.bpmf.simd import LANES
from marquee.models.numba_cache import numba


def _normals(count: int, seed: int = 0, kind: type = np.float32) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(count).astype(kind)


def _multiply_add_exactly(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return x * y + z, computed in fractions and rounded once."""
    exact = [
        Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
        for a, b, c in zip(x.ravel(), y.ravel(), z.ravel(), strict=True)
    ]
    return np.array([_round(number, x.dtype) for number in exact], x.dtype).reshape(x.shape)


def _round(number: Fraction, kind: np.dtype) -> float:
    """Round to the nearest float64, or to the nearest of three neighboring float32."""
    if kind == np.float64:
        return number.numerator / number.denominator
    near = np.float32(number.numerator / number.denominator)
    neighbors = [near, np.nextafter(near, np.float32(-np.inf)), np.nextafter(near, np.float32(np.inf))]
    return float(min(neighbors, key=lambda value: abs(Fraction(float(value)) - number)))


@numba.njit
def _arithmetic(x: Any, y: Any, z: Any, out: Any) -> None:
    a, b, c = simd.load(x, 1), simd.load(y, 0), simd.load(z, 0)
    for k, value in enumerate(
        (
            simd.multiply(a, b),
            simd.add(a, b),
            simd.fused_multiply_add(c, a, b),
            simd.fused_negate_multiply_add(c, a, b),
            simd.reciprocal_sqrt(c),
            simd.broadcast(simd.load_scalar(x, 3)),
        )
    ):
        simd.store(out, k * LANES, value)
    simd.store(out, 6 * LANES, simd.insert_last(a, simd.load_scalar(x, 0)))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_arithmetic_all_lanes_equal_numpy(kind: type) -> None:
    """Loads need no alignment, and a fused multiply-add rounds once."""
    x, y = _normals(LANES + 1, 0, kind), _normals(LANES, 1, kind)
    z = np.abs(_normals(LANES, 2, kind))
    out: np.ndarray = np.zeros(7 * LANES, kind)
    _arithmetic(x, y, z, out)
    a, one = x[1:], kind(1.0)
    last = np.append(a[:-1], x[0])
    fused = [_multiply_add_exactly(a, y, z), _multiply_add_exactly(-a, y, z)]
    expected = [a * y, a + y, *fused, one / np.sqrt(z), np.full(LANES, x[3]), last]
    np.testing.assert_array_equal(out.reshape(7, LANES), np.array(expected, kind))


@numba.njit
def _sum(x: Any) -> Any:
    return simd.horizontal_sum(simd.load(x, 0))


@given(st.integers(0, 2**31), st.sampled_from([np.float32, np.float64]))
def test_horizontal_sum_is_within_rounding_of_the_exact_sum(seed: int, kind: type) -> None:
    """The error of the sixteen lanes' sum is at most that of four additions a number."""
    x = _normals(LANES, seed, kind)
    bound = 4 * float(np.finfo(kind).eps) * math.fsum(np.abs(x).tolist())
    assert abs(float(_sum(x)) - math.fsum(x.tolist())) <= bound


SUMS = """
import numpy as np
from tests.models.test_simd import _normals, _sum
print([_sum(_normals(16, seed, kind)).hex() for seed in range(50) for kind in (np.float32, np.float64)])
"""


def test_horizontal_sum_register_width_does_not_change_bits(tmp_path: Path) -> None:
    """Code for a processor without wide registers gives the bits of the code for this one."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    narrow = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    outputs = [
        subprocess.run([sys.executable, "-c", SUMS], env=environment | settings, capture_output=True, check=True).stdout
        for settings in ({}, narrow)
    ]
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) > 100


@numba.njit
def _add_block_product(width: Any, x: Any, y: Any, count: Any, out: Any) -> None:
    simd.add_block_product(width, (x, 0), (y, LANES), count, (out, LANES))


@pytest.mark.parametrize("count", [0, 1, 2, 7, 64])
def test_add_block_product_sums_rows_in_order(count: int) -> None:
    """Each of the 256 sums adds one row after the other, and numbers beside the block keep their values."""
    width = 2 * LANES
    x, y = _normals(count * width).reshape(count, width), _normals(count * width, 1).reshape(count, width)
    out = _normals(LANES * width, 2)
    expected = out.reshape(LANES, width).copy()
    for k in range(count):
        left, right = np.meshgrid(x[k, :LANES], y[k, LANES:], indexing="ij")
        expected[:, LANES:] = _multiply_add_exactly(left, right, expected[:, LANES:])
    _add_block_product(width_of(width), x.ravel(), y.ravel(), count, out)
    np.testing.assert_array_equal(out.reshape(LANES, width), expected)


@numba.njit
def _aligned_zeros(numbers: Any) -> Any:
    return simd.aligned_zeros(numbers)


@pytest.mark.parametrize("numbers", [0, 1, LANES, 1000])
def test_aligned_zeros_start_at_a_cache_line(numbers: int) -> None:
    """Called from Python and from compiled code, the array has that many zeros and is aligned."""
    for array in (simd.aligned_zeros(numbers), _aligned_zeros(numbers)):
        assert array.shape == (numbers,)
        assert not array.any()
        assert numbers == 0 or array.ctypes.data % (4 * LANES) == 0
