"""Inverse of the Gram matrix of the EASE ranker as one dense float32 matrix, computed in place.

It takes 4 * n_items^2 bytes, and n_items^3 multiplications for the Cholesky factor and the inverse together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.sparse import csr_array

from marquee.errors import SettingsError
from marquee.models.item_regression import BLOCK_ROWS, Float32, Regression


class DenseInverse:
    """P = G^-1 [n_items, n_items], both triangles, and the exact multipliers."""

    def __init__(self, regression: Regression, gram: Float32) -> None:
        """Invert the Gram matrix. ``gram`` is X'X (:func:`dense_gram`) and is overwritten.

        Raises :class:`SettingsError` if the ridge is too small for float32.
        """
        self.matrix = gram
        self.matrix[np.diag_indices_from(self.matrix)] += regression.penalty
        invert_in_place(self.matrix)
        numerators = _diagonal_of_product(self.matrix, regression)
        self.multipliers: Float32 = np.divide(numerators, np.diagonal(self.matrix), dtype=np.float32)

    def apply(self, columns: Float32) -> Float32:
        """Return P @ ``columns``."""
        product: Float32 = self.matrix @ columns
        return product


def dense_gram(by_item: csr_array) -> Float32:
    """Return X'X [n_items, n_items] of the transposed histories X', in blocks of rows."""
    n_items = by_item.shape[0]
    gram = np.empty((n_items, n_items), np.float32)
    by_user = by_item.T.tocsr()
    for rows in blocks(n_items):
        gram[rows] = (by_item[rows] @ by_user).toarray()
    return gram


def invert_in_place(gram: Float32) -> None:
    """Replace a symmetric positive definite matrix by its inverse.

    Raises :class:`SettingsError` if it is not positive definite in float32.
    """
    # LAPACK works on columns: the transpose of a C-ordered array is the same memory, and the matrix is symmetric.
    columns = gram.T
    _, failed = lapack.spotrf(columns, lower=1, overwrite_a=1, clean=0)
    if failed == 0:
        _, failed = lapack.spotri(columns, lower=1, overwrite_c=1)
    if failed:
        raise SettingsError(
            "params.yaml: rankers.ease.ridge is too small for this much data: the Gram matrix of the histories is "
            "singular in float32; use a larger ridge"
        )
    for rows in blocks(len(gram)):
        block = gram[rows, rows]
        gram[rows, rows] = np.triu(block) + np.triu(block, 1).T
        gram[rows.stop :, rows] = gram[rows, rows.stop :].T


def blocks(length: int, size: int = BLOCK_ROWS) -> list[slice]:
    """Return consecutive slices of at most ``size`` rows."""
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]


def _diagonal_of_product(inverse: Float32, regression: Regression) -> NDArray[np.float32]:
    """Return the diagonal of P X'T."""
    diagonal = np.empty(len(inverse), np.float32)
    for rows in blocks(len(inverse)):
        diagonal[rows] = np.einsum("ij,ij->i", regression.cross_rows(rows), inverse[rows])
    return diagonal
