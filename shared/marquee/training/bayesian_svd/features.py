"""What is known of a row besides its ratings, as blocks whose columns are orthogonal.

The prior of a block's link matrix is the same in every direction, so a block may be rotated at will. Rotated
to its singular directions, X^T X is diagonal and the link matrix is drawn entry by entry.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


Float32 = NDArray[np.float32]


def rotate(block: sparse.csr_array | NDArray[np.float64], rank: int, seed: int) -> Float32:
    """``block`` [rows, features] rotated to its leading ``rank`` singular directions: [rows, <= rank] float32.

    Small blocks are rotated exactly, large ones by a truncated SVD. Directions without weight are left out.
    """
    rows, columns = block.shape
    if min(rows, columns) <= max(rank, 64):
        dense = block.toarray() if sparse.issparse(block) else np.asarray(block)
        left, scale, _ = np.linalg.svd(dense, full_matrices=False)
    else:
        left, scale = _leading(sparse.csr_array(block), rank, seed)
    kept = scale > 1e-6 * max(float(scale[0]), 1e-12)
    return np.ascontiguousarray((left * scale)[:, kept][:, :rank], dtype=np.float32)


def _leading(block: sparse.csr_array, rank: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The leading singular vectors by randomised subspace iteration (Halko, Martinsson and Tropp, 2011)."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(block @ rng.standard_normal((block.shape[1], rank + 20)))[0]
    for _ in range(4):
        basis = np.linalg.qr(block @ np.linalg.qr(block.T @ basis)[0])[0]
    left, scale, _ = np.linalg.svd((block.T @ basis).T, full_matrices=False)
    return basis @ left, scale


def implicit(start: NDArray[np.int64], column: NDArray[np.int32], columns: int) -> sparse.csr_array:
    """The 0/1 "has rated" matrix [rows, columns] of the training pairs, each row divided by the root of its length."""
    length = np.maximum(np.diff(start), 1)
    value = np.repeat(1.0 / np.sqrt(length), np.diff(start))
    return sparse.csr_array((value, column, start), shape=(len(start) - 1, columns))


def one_hot(values: Sequence[str]) -> NDArray[np.float64]:
    """A column for each distinct value; "" is unknown and has none: the row stays zero there."""
    names = sorted(set(values) - {""})
    index = {name: k for k, name in enumerate(names)}
    out = np.zeros((len(values), len(names)))
    for row, value in enumerate(values):
        if value:
            out[row, index[value]] = 1.0
    return out


def many_hot(values: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """A column for each distinct value of lists such as genres, scaled by 1 / sqrt(how many the row has)."""
    names = sorted({name for row in values for name in row})
    index = {name: k for k, name in enumerate(names)}
    out = np.zeros((len(values), len(names)))
    for k, row in enumerate(values):
        for name in set(row):
            out[k, index[name]] = 1.0 / np.sqrt(len(set(row)))
    return out


