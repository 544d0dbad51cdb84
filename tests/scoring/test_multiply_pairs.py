"""Dot products of pairs of rows."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from marquee.scoring.arrays import multiply_pairs


@pytest.mark.parametrize("count", [0, 5, 600_000])
def test_multiply_pairs_any_number_of_pairs_gives_their_products(count: int) -> None:
    """Products of blocks are those of all pairs at once, to the bit."""
    rng = np.random.default_rng(0)
    left, right = (rng.standard_normal((rows, 3)).astype(np.float32) for rows in (40, 30))
    users, items = rng.integers(0, 40, count), rng.integers(0, 30, count)
    products = multiply_pairs(left, users, right, items)
    assert products.dtype == np.float32
    np.testing.assert_array_equal(products, np.einsum("nk,nk->n", left[users], right[items]))


def test_multiply_pairs_many_pairs_do_not_copy_all_rows() -> None:
    """A million pairs of 64 numbers take the memory of a block, not 512 MB."""
    rows = np.zeros(1_000_000, np.int32)
    tracemalloc.start()
    multiply_pairs(np.ones((1, 64), np.float32), rows, np.ones((1, 64), np.float32), rows)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200e6
