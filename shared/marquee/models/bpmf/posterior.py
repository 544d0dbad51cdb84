"""Reduction of all posterior samples to the one set of factors that is served.

Averaging the factors themselves drifts, because samples are rotated against each other. So the predictions are
averaged: for small catalogs as a full matrix, for any size as a product of two thin factors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from marquee.models.bpmf.feature_blocks import leading_directions
from marquee.scoring.arrays import multiply_pairs

Float32 = NDArray[np.float32]

# Largest mean prediction matrix that is kept in full, in cells of 4 bytes.
MAX_DENSE_CELLS = 40_000_000
# Rows whose squares are summed at once, in float64.
_ROW_CHUNK = 16_384
# Directions with a squared singular value below this fraction of the largest are rounding errors.
_MIN_RELATIVE_SQUARE = 1e-12


@dataclass(frozen=True, slots=True)
class Factors:
    """Linear model about the global mean: user vectors [n, k] . item vectors [m, k] + biases [n] and [m]."""

    user_vectors: Float32
    user_biases: Float32
    item_vectors: Float32
    item_biases: Float32

    def predict(self, user: NDArray[np.integer], item: NDArray[np.integer]) -> Float32:
        """Return the prediction of each pair, less the global mean."""
        dots: Float32 = multiply_pairs(self.user_vectors, user, self.item_vectors, item)
        dots += self.user_biases[user] + self.item_biases[item]
        return dots


class Posterior:
    """Accumulator of samples that returns one set of factors for all of them.

    It adds ``batch_size`` samples at a time. Until then they are pending, as pairs of factors.
    """

    # Attributes that hold what was added, float32 arrays.
    _SUMS: ClassVar[tuple[str, ...]]

    def __init__(self, batch_size: int) -> None:
        self.samples = 0
        self._batch_size = batch_size
        self._pending: list[tuple[Float32, Float32]] = []

    def add(self, users: Float32, items: Float32) -> None:
        """Add one sample: vectors [n, K + 1] and [m, K + 1], the bias last."""
        self._pending.append(_append_biases(users, items))
        self.samples += 1
        if len(self._pending) == self._batch_size:
            self._flush()

    def factors(self) -> Factors:
        """Return the factors of the mean prediction; needs at least one sample."""
        assert self.samples, "no sample was added"
        self._flush()
        return self._export()

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Return everything that :meth:`restore` needs, as arrays."""
        # Pending samples stay pending: another batching would change the last bits.
        lefts, rights = (np.array([pair[side] for pair in self._pending], np.float32) for side in (0, 1))
        sums = {name: getattr(self, name) for name in self._SUMS}
        return {"count": np.array(self.samples), "left": lefts, "right": rights, **sums}

    def restore(self, state: dict[str, NDArray[np.generic]]) -> None:
        """Continue from a :meth:`state`."""
        self.samples = int(state["count"])
        self._pending = list(zip(*(np.asarray(state[side], np.float32) for side in ("left", "right")), strict=True))
        for name in self._SUMS:
            setattr(self, name, np.array(state[name], np.float32))

    def _flush(self) -> None:
        if self._pending:
            lefts, rights = zip(*self._pending, strict=True)
            self._add_batch(lefts, rights)
            self._pending = []

    def _add_batch(self, lefts: Sequence[Float32], rights: Sequence[Float32]) -> None:
        raise NotImplementedError

    def _export(self) -> Factors:
        raise NotImplementedError


def create_posterior(n_users: int, n_items: int, rank: int, seed: int) -> Posterior:
    """Return the most accurate accumulator that fits into memory; ``rank`` is that of the served factors."""
    if n_users * n_items <= MAX_DENSE_CELLS:
        return MeanPrediction(n_users, n_items, rank, seed)
    return CompressedMean(n_users, n_items, rank)


class MeanPrediction(Posterior):
    """Sum of the predictions of all pairs [n, m], factorized by a truncated SVD. Memory: 4 n m bytes."""

    _SUMS = ("_total",)

    def __init__(self, n_users: int, n_items: int, rank: int, seed: int) -> None:
        super().__init__(batch_size=8)  # One pass over the matrix adds a whole batch.
        self._total = np.zeros((n_users, n_items), np.float32)
        self._rank = min(rank, n_users, n_items)
        self._seed = seed

    def _add_batch(self, lefts: Sequence[Float32], rights: Sequence[Float32]) -> None:
        self._total += np.hstack(lefts) @ np.hstack(rights).T

    def _export(self) -> Factors:
        mean = self._total / np.float32(self.samples)
        grand_mean = float(mean.mean(dtype=np.float64))
        user_biases = mean.mean(axis=1, dtype=np.float64) - grand_mean / 2
        item_biases = mean.mean(axis=0, dtype=np.float64) - grand_mean / 2
        mean -= user_biases[:, None].astype(np.float32)
        mean -= item_biases.astype(np.float32)
        left, scale, right = leading_directions(mean, self._rank, self._seed)
        root = np.sqrt(scale)
        return Factors(
            np.ascontiguousarray(left * root, np.float32),
            user_biases.astype(np.float32),
            np.ascontiguousarray(right * root, np.float32),
            item_biases.astype(np.float32),
        )


class CompressedMean(Posterior):
    """Mean prediction as a product of two thin matrices, truncated again after each batch.

    Memory: about a hundred numbers a user and an item, whatever the number of samples. Each sample is a product of
    factors, and the sum of products is the product of the concatenated factors, so no alignment is needed.
    """

    _SUMS = ("_left", "_right")
    # Directions kept beyond the served ones, because later samples can add to them.
    _SPARE_DIRECTIONS = 16

    def __init__(self, n_users: int, n_items: int, rank: int) -> None:
        super().__init__(batch_size=2)  # A batch is then about as wide as the running factors.
        self._rank = min(rank, n_users, n_items)
        self._left = np.zeros((n_users, 0), np.float32)
        self._right = np.zeros((n_items, 0), np.float32)

    def _add_batch(self, lefts: Sequence[Float32], rights: Sequence[Float32]) -> None:
        left, right = np.hstack([self._left, *lefts]), np.hstack([self._right, *rights])
        self._left, self._right = truncate_svd(left, right, self._rank + self._SPARE_DIRECTIONS)

    def _export(self) -> Factors:
        left, right = self._left / np.float32(self.samples), self._right
        user_biases = (left @ right.mean(axis=0, dtype=np.float64)).astype(np.float32)
        item_biases = (right @ left.mean(axis=0, dtype=np.float64)).astype(np.float32)
        half = np.float32(user_biases.mean(dtype=np.float64) / 2)
        user_biases -= half
        item_biases -= half
        # Two more columns subtract the biases from the product.
        minus_one = np.float32(-1.0)
        left = np.column_stack([left, user_biases, np.full_like(user_biases, minus_one)])
        right = np.column_stack([right, np.full_like(item_biases, minus_one), item_biases])
        left, right = truncate_svd(left, right, self._rank)
        return Factors(left, user_biases, right, item_biases)


def truncate_svd(left: Float32, right: Float32, rank: int) -> tuple[Float32, Float32]:
    """Return the factors [n, rank] and [m, rank] whose product is nearest to ``left @ right.T``.

    ``left`` is [n, k] and ``right`` [m, k]. The SVD of the product comes from the Gram matrices of the two.
    """
    left_vectors, left_scale = _right_singular_vectors(left)
    right_vectors, right_scale = _right_singular_vectors(right)
    core = (left_scale[:, None] * left_vectors.T) @ (right_vectors * right_scale)
    u, scale, vt = np.linalg.svd(core, full_matrices=False)
    root = np.sqrt(scale[:rank])
    left_map = left_vectors @ (u[:, :rank] / left_scale[:, None] * root)
    right_map = right_vectors @ (vt[:rank].T / right_scale[:, None] * root)
    return left @ left_map.astype(np.float32), right @ right_map.astype(np.float32)


def _right_singular_vectors(matrix: Float32) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the right singular vectors [k, r] of ``matrix`` [n, k] and its r significant singular values."""
    gram = np.zeros((matrix.shape[1], matrix.shape[1]))
    for first in range(0, len(matrix), _ROW_CHUNK):
        part = matrix[first : first + _ROW_CHUNK].astype(np.float64)
        gram += part.T @ part
    squares, vectors = np.linalg.eigh(gram)
    significant = squares > _MIN_RELATIVE_SQUARE * squares[-1]
    return vectors[:, significant], np.sqrt(squares[significant])


def _append_biases(users: Float32, items: Float32) -> tuple[Float32, Float32]:
    """Return a sample as one product of [n, K + 2] and [m, K + 2], each bias against a column of ones."""
    one = np.float32(1.0)
    left = np.hstack([users, np.full((len(users), 1), one)])
    right = np.hstack([items[:, :-1], np.full((len(items), 1), one), items[:, -1:]])
    return left, right
