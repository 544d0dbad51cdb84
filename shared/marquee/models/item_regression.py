"""Item-to-item ridge regression with a zero diagonal: the objective of the EASE ranker, and its exact solution.

For histories X and targets T, both [n_users, n_items], the weights B minimize

    ||T - X B||^2 + ||D^(1/2) B||^2   with   diag(B) = 0   and   D = ridge + dropout * diag(X'X)

With G = X'X + D, P = G^-1 and C = X'T the solution is B = P (C - diag(multipliers)), where multiplier j is
(P C)_jj / P_jj. B is never formed for large catalogs: :class:`InverseGram` applies P, and everything else is sparse.

The factors of :func:`reduce_rank` keep the directions in which scores differ between users, not those of the weights
themselves: reduced-rank regression (Izenman, 1975).
"""

from __future__ import annotations

from copy import copy
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from marquee.data.interactions import WeightedInteractions
from marquee.models.ranker_port import RankingFactors

Floats = NDArray[np.float64]
Float32 = NDArray[np.float32]

# Rows of a product of two sparse matrices that are held as a dense block.
BLOCK_ROWS = 512
PASSES = 6
"""Iterations of the subspace, which is 16 columns wider than the rank. More change no list."""


class InverseGram(Protocol):
    """P = G^-1, exact or approximate, and the multipliers that keep the diagonal of B at 0."""

    @property
    def multipliers(self) -> Float32:
        """Multiplier of each item, [n_items]."""
        ...

    def apply(self, columns: Float32) -> Float32:
        """Return P @ ``columns``, [n_items, k]."""
        ...


class Regression(Protocol):
    """The part of the data that the inverse and the scores need; C = X'T."""

    n_items: int
    penalty: Float32

    def cross(self, columns: Float32) -> Float32:
        """Return C @ ``columns``, [n_items, k]."""
        ...

    def cross_transposed(self, columns: Float32) -> Float32:
        """Return C' @ ``columns``, [n_items, k]."""
        ...

    def cross_rows(self, rows: slice) -> Float32:
        """Return some rows of C', [rows, n_items]."""
        ...


class CollectedRegression:
    """The data of the regression as two dense matrices, X'X and X'T, [n_items, n_items]."""

    def __init__(self, gram: Float32, cross: Float32, ridge: float, dropout: float) -> None:
        """Take both matrices; ``gram`` is only read here."""
        self._cross = cross
        self.n_items = len(gram)
        self.penalty: Float32 = np.float32(ridge) + np.float32(dropout) * np.diagonal(gram)

    def cross(self, columns: Float32) -> Float32:
        """Return C @ ``columns`` with C = X'T."""
        product: Float32 = self._cross @ columns
        return product

    def cross_transposed(self, columns: Float32) -> Float32:
        """Return C' @ ``columns``."""
        product: Float32 = self._cross.T @ columns
        return product

    def cross_rows(self, rows: slice) -> Float32:
        """Return some rows of C'."""
        part: Float32 = self._cross.T[rows]
        return part


class ItemRegression:
    """The data of the regression as sparse float32 matrices, by user and by item."""

    def __init__(self, history: csr_array, targets: csr_array, ridge: float, dropout: float) -> None:
        """Take X and T, [n_users, n_items]."""
        self.history = csr_array(history, dtype=np.float32)
        self.targets = csr_array(targets, dtype=np.float32)
        self.history_by_item = self.history.T.tocsr()
        self.targets_by_item = self.targets.T.tocsr()
        self.n_items = self.history.shape[1]
        self.squared_weights = np.asarray(self.history.power(2).sum(0), np.float32).ravel()
        self.penalty = self._weigh_penalty(ridge, dropout)

    @classmethod
    def from_interactions(
        cls, interactions: WeightedInteractions, shape: tuple[int, int], ridge: float, dropout: float
    ) -> ItemRegression:
        """Build X from the weights of the interactions, and T from their targets."""
        history, targets = (
            _sparse(interactions, values, shape) for values in (interactions.weights, interactions.targets)
        )
        return cls(history, targets, ridge, dropout)

    def with_penalty(self, ridge: float, dropout: float) -> ItemRegression:
        """Return the regression on the same matrices with another penalty."""
        other = copy(self)
        other.penalty = other._weigh_penalty(ridge, dropout)
        return other

    def _weigh_penalty(self, ridge: float, dropout: float) -> Float32:
        penalty: Float32 = np.float32(ridge) + np.float32(dropout) * self.squared_weights
        return penalty

    def cross(self, columns: Float32) -> Float32:
        """Return C @ ``columns`` with C = X'T."""
        product: Float32 = self.history_by_item @ (self.targets @ columns)
        return product

    def cross_transposed(self, columns: Float32) -> Float32:
        """Return C' @ ``columns``."""
        product: Float32 = self.targets_by_item @ (self.history @ columns)
        return product

    def cross_rows(self, rows: slice) -> Float32:
        """Return some rows of C'."""
        part: Float32 = (self.targets_by_item[rows] @ self.history).toarray()
        return part

    def gram(self, columns: Float32) -> Float32:
        """Return G @ ``columns``."""
        product: Float32 = self.history_by_item @ (self.history @ columns)
        product += self.penalty[:, None] * columns
        return product


class ScoreOperator:
    """The weights B, and the Gram matrix of the scores X B, as operators on columns [n_items, k]."""

    def __init__(self, regression: Regression, inverse: InverseGram) -> None:
        self._regression = regression
        self._inverse = inverse
        self.n_items = regression.n_items

    def weigh(self, columns: Float32) -> Float32:
        """Return B @ ``columns``."""
        return self._inverse.apply(self._constrained(columns))

    def score_gram(self, columns: Float32) -> Float32:
        """Return B'X'X B @ ``columns``.

        G v = z for v = P z, so X'X v is z - D v, without another pass over the histories.
        """
        right = self._constrained(columns)
        weighed = self._inverse.apply(right)
        weighed = self._inverse.apply(right - self._regression.penalty[:, None] * weighed)
        product: Float32 = self._regression.cross_transposed(weighed)
        product -= self._inverse.multipliers[:, None] * weighed
        return product

    def _constrained(self, columns: Float32) -> Float32:
        product = self._regression.cross(columns)
        product -= self._inverse.multipliers[:, None] * columns
        return product


def _sparse(interactions: WeightedInteractions, values: Floats, shape: tuple[int, int]) -> csr_array:
    """Return the values that are not 0 as a matrix [n_users, n_items]."""
    rows = np.flatnonzero(values)
    positions = (interactions.users[rows], interactions.items[rows])
    return csr_array((values[rows].astype(np.float32), positions), shape=shape)


def solve_regression(history: csr_array, targets: csr_array, ridge: float, dropout: float = 0.0) -> Floats:
    """Return B [n_items, n_items] in float64: the exact solution, for small catalogs.

    With ``targets`` equal to ``history`` and no ``dropout`` this is EASE (Steck, WWW 2019).
    """
    gram = (history.T @ history).toarray()
    gram[np.diag_indices_from(gram)] += ridge + dropout * np.diag(gram)
    inverse = np.linalg.inv(gram)
    weights: Floats = inverse @ (history.T @ targets).toarray()
    # One Lagrange multiplier a column keeps the diagonal at 0.
    weights -= inverse * (np.diag(weights) / np.diag(inverse))
    np.fill_diagonal(weights, 0)
    return weights


def reduce_rank(weights: ScoreOperator, rank: int, seed: int, passes: int = PASSES) -> RankingFactors:
    """Return the factors of ``rank`` columns whose scores are nearest to X B in least squares.

    Columns beyond the rank of B are 0.
    """
    directions = _leading_directions(weights, min(rank, weights.n_items), seed, passes)
    factors = weights.weigh(directions)
    return RankingFactors(_pad_columns(factors, rank), _pad_columns(directions, rank))


def _leading_directions(weights: ScoreOperator, rank: int, seed: int, passes: int) -> Float32:
    """Return the leading right singular vectors [n_items, rank] of X B; signs are fixed.

    Subspace iteration (Halko, Martinsson and Tropp, 2011) on the Gram matrix of the scores.
    """
    width = min(rank + 16, weights.n_items)
    basis = _orthonormal(np.random.default_rng(seed).standard_normal((weights.n_items, width)))
    for _ in range(passes):
        basis = _orthonormal(weights.score_gram(basis))
    gram = basis.T.astype(float) @ weights.score_gram(basis)
    _, rotation = np.linalg.eigh((gram + gram.T) / 2)
    directions = basis @ rotation[:, ::-1][:, :rank]
    signs = np.sign(directions[np.abs(directions).argmax(0), np.arange(rank)])
    signed: Float32 = (directions * signs).astype(np.float32)
    return signed


def _orthonormal(columns: NDArray[np.floating]) -> Float32:
    return np.linalg.qr(columns.astype(float))[0].astype(np.float32)


def _pad_columns(columns: Float32, width: int) -> Floats:
    """Return ``columns`` [n, k] in float64 with columns of zeros up to ``width``."""
    return np.pad(columns.astype(float), ((0, 0), (0, width - columns.shape[1])))
