"""Inverse of the Gram matrix of the EASE ranker by conjugate gradients, for catalogs too large for a dense one.

The objective is the same. The most popular items, the head, have a dense inverse, which preconditions the
iterations; the diagonal does so for all others. Memory grows with the head's square and with the number of items
and users, not with the square of the catalog.

The multipliers would need one solution for each item. That of a head item comes from the regression on the
head, that of any other item from the regression on the head and itself: C_jj - (C_hj)' P_hh G_hj.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from marquee.models.dense_inverse import blocks, dense_gram, invert_in_place
from marquee.models.item_regression import Float32, ItemRegression

TOLERANCE = 3e-3
"""Residual, relative to the right side, at which a column is solved. A smaller one changes no list."""
MAX_ITERATIONS = 100


class IterativeInverse:
    """P = G^-1 as an operator, and approximate multipliers."""

    def __init__(self, regression: ItemRegression, head_items: int, tolerance: float = TOLERANCE) -> None:
        self._regression = regression
        self._tolerance = tolerance
        n_items = regression.n_items
        order = np.argsort(-regression.squared_weights, kind="stable")
        self._head = np.sort(order[: min(head_items, n_items)])
        self._scale: Float32 = np.reciprocal(regression.squared_weights + regression.penalty)
        self._head_inverse = dense_gram(regression.history_by_item[self._head])
        self._head_inverse[np.diag_indices_from(self._head_inverse)] += regression.penalty[self._head]
        invert_in_place(self._head_inverse)
        self.multipliers: Float32 = self._fit_multipliers()

    def apply(self, columns: Float32) -> Float32:
        """Return P @ ``columns`` by preconditioned conjugate gradients, each column with its own steps."""
        solution = np.zeros_like(columns)
        residual = columns.copy()
        direction = self._precondition(residual)
        energy = _dots(residual, direction)
        # In this norm, in which the head's large eigenvalues do not hide the residual of all others.
        limit = self._tolerance**2 * energy
        for _ in range(MAX_ITERATIONS):
            product = self._regression.gram(direction)
            step = _ratio(energy, _dots(direction, product))
            solution += step * direction
            residual -= step * product
            preconditioned = self._precondition(residual)
            energy, before = _dots(residual, preconditioned), energy
            if (energy <= limit).all():
                break
            direction *= _ratio(energy, before)
            direction += preconditioned
        return solution

    def _precondition(self, columns: Float32) -> Float32:
        result: Float32 = np.multiply(columns, self._scale[:, None], dtype=np.float32)
        result[self._head] = self._head_inverse @ columns[self._head]
        return result

    def _fit_multipliers(self) -> NDArray[np.float32]:
        regression, head, inverse = self._regression, self._head, self._head_inverse
        multipliers = np.empty(regression.n_items, np.float32)
        own_cross = np.asarray(regression.history.multiply(regression.targets).sum(0), np.float32).ravel()
        of_head = regression.history[:, head]
        position = np.full(regression.n_items, -1)
        position[head] = np.arange(len(head))
        for rows in blocks(regression.n_items):
            cross = (regression.targets_by_item[rows] @ of_head).toarray()
            gram = (regression.history_by_item[rows] @ of_head).toarray()
            multipliers[rows] = own_cross[rows] - np.einsum("ij,ij->i", gram @ inverse, cross)
            inside = position[rows] >= 0
            own = inverse[position[rows][inside]]
            diagonal = own[np.arange(len(own)), position[rows][inside]]
            multipliers[rows][inside] = np.einsum("ij,ij->i", own, cross[inside]) / diagonal
        return multipliers


def _dots(left: Float32, right: Float32) -> Float32:
    product: Float32 = np.einsum("ij,ij->j", left, right)
    return product


def _ratio(numerator: Float32, denominator: Float32) -> Float32:
    """Return the quotient, 0 for a column that is solved exactly."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
