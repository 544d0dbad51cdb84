"""From many samples to the one set of factors that is served.

A plain average of the factors drifts, since each sample is rotated against the others. So it is the predictions
that are averaged: for small catalogues as the whole matrix, for any size as two thin factors of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from marquee.models.bpmf.feature_blocks import leading_directions

Float32 = NDArray[np.float32]

# Cells of the mean prediction matrix that are still kept whole, 4 bytes each.
DENSE_CELLS = 40_000_000
# Rows whose squares are summed at once, in float64.
_ROWS_AT_ONCE = 16_384
# Directions of less than this part of the largest one's square are rounding.
_NO_WEIGHT = 1e-12


@dataclass(frozen=True, slots=True)
class Factors:
    """One linear model: user [n, k] . item [m, k] + the biases [n] and [m], about the global mean."""

    user_vectors: Float32
    user_biases: Float32
    item_vectors: Float32
    item_biases: Float32

    def predict(self, user: NDArray[np.integer], item: NDArray[np.integer]) -> Float32:
        """The prediction of each pair, less the global mean."""
        dots: Float32 = np.einsum("rk,rk->r", self.user_vectors[user], self.item_vectors[item])
        dots += self.user_biases[user] + self.item_biases[item]
        return dots


class Posterior(Protocol):
    """Takes one sample after the other and gives one set of factors for all of them."""

    @property
    def samples(self) -> int:
        """How many samples were added."""

    def add(self, users: Float32, items: Float32) -> None:
        """Count one sample: vectors [n, K + 1] and [m, K + 1], the bias last."""

    def factors(self) -> Factors:
        """What is served for the samples so far; there must have been one."""

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Everything that :meth:`restore` needs, as arrays."""

    def restore(self, state: dict[str, NDArray[np.generic]]) -> None:
        """Go on where :meth:`state` was taken."""


def posterior_for(n_users: int, n_items: int, rank: int, seed: int) -> Posterior:
    """The best one that fits into memory; ``rank`` is that of the served factors."""
    if n_users * n_items <= DENSE_CELLS:
        return MeanPrediction(n_users, n_items, rank, seed)
    return CompressedMean(n_users, n_items, rank)


class _SeveralAtOnce:
    """Samples are taken up ``at_once``, side by side; until then they are pending, as pairs of factors."""

    def __init__(self, at_once: int) -> None:
        self.samples = 0
        self._at_once = at_once
        self._pending: list[tuple[Float32, Float32]] = []

    def add(self, users: Float32, items: Float32) -> None:
        self._pending.append(_with_biases(users, items))
        self.samples += 1
        if len(self._pending) == self._at_once:
            self._flush()

    def state(self) -> dict[str, NDArray[np.generic]]:
        # What is pending stays so: multiplied in another grouping the last bits would differ.
        lefts, rights = ([pair[side] for pair in self._pending] for side in (0, 1))
        return {
            "count": np.array(self.samples),
            "left": np.array(lefts, np.float32),
            "right": np.array(rights, np.float32),
        }

    def restore(self, state: dict[str, NDArray[np.generic]]) -> None:
        self.samples = int(state["count"])
        pairs = zip(state["left"], state["right"], strict=True)
        self._pending = [
            (np.asarray(left, np.float32), np.asarray(right, np.float32)) for left, right in pairs
        ]

    def _flush(self) -> None:
        if self._pending:
            lefts, rights = zip(*self._pending, strict=True)
            self._take_up(lefts, rights)
            self._pending = []

    def _take_up(self, lefts: Sequence[Float32], rights: Sequence[Float32]) -> None:
        raise NotImplementedError


class MeanPrediction(_SeveralAtOnce):
    """Keeps the mean prediction of every pair, [n, m], and cuts it to a rank. Memory: 4 n m bytes."""

    def __init__(self, n_users: int, n_items: int, rank: int, seed: int) -> None:
        super().__init__(at_once=8)  # One pass over the matrix serves them all.
        self._total = np.zeros((n_users, n_items), np.float32)
        self._rank = min(rank, n_users, n_items)
        self._seed = seed

    def _take_up(self, lefts: Sequence[Float32], rights: Sequence[Float32]) -> None:
        self._total += np.hstack(lefts) @ np.hstack(rights).T

    def factors(self) -> Factors:
        assert self.samples, "no sample was added"
        self._flush()
        mean = self._total / np.float32(self.samples)
        grand = float(mean.mean(dtype=np.float64))
        user_biases = mean.mean(axis=1, dtype=np.float64) - grand / 2
        item_biases = mean.mean(axis=0, dtype=np.float64) - grand / 2
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

    def state(self) -> dict[str, NDArray[np.generic]]:
        return {"total": self._total, **super().state()}

    def restore(self, state: dict[str, NDArray[np.generic]]) -> None:
        super().restore(state)
        self._total = np.array(state["total"], np.float32)


class CompressedMean(_SeveralAtOnce):
    """Keeps the mean prediction as a product of two thin matrices, cut to a rank again after a few samples.

    Memory: some hundred numbers a user and an item, whatever the samples. Samples are products too, and a
    sum of products is one whose factors stand side by side: nothing has to be aligned.
    """

    # Directions kept beyond the served ones: what one sample does not show yet, the next may.
    _SPARE = 16

    def __init__(self, n_users: int, n_items: int, rank: int) -> None:
        super().__init__(at_once=2)  # They and the running factors are then about equally wide.
        self._rank = min(rank, n_users, n_items)
        self._left = np.zeros((n_users, 0), np.float32)
        self._right = np.zeros((n_items, 0), np.float32)

    def _take_up(self, lefts: Sequence[Float32], rights: Sequence[Float32]) -> None:
        left, right = np.hstack([self._left, *lefts]), np.hstack([self._right, *rights])
        self._left, self._right = truncate_svd(left, right, self._rank + self._SPARE)

    def factors(self) -> Factors:
        assert self.samples, "no sample was added"
        self._flush()
        left, right = self._left / np.float32(self.samples), self._right
        of_users = (left @ right.mean(axis=0, dtype=np.float64)).astype(np.float32)
        of_items = (right @ left.mean(axis=0, dtype=np.float64)).astype(np.float32)
        half = np.float32(of_users.mean(dtype=np.float64) / 2)
        of_users -= half
        of_items -= half
        # The biases are taken out of the product by two more columns.
        minus = np.float32(-1.0)
        left = np.column_stack([left, of_users, np.full_like(of_users, minus)])
        right = np.column_stack([right, np.full_like(of_items, minus), of_items])
        left, right = truncate_svd(left, right, self._rank)
        return Factors(left, of_users, right, of_items)

    def state(self) -> dict[str, NDArray[np.generic]]:
        return {"mean_left": self._left, "mean_right": self._right, **super().state()}

    def restore(self, state: dict[str, NDArray[np.generic]]) -> None:
        super().restore(state)
        self._left = np.array(state["mean_left"], np.float32)
        self._right = np.array(state["mean_right"], np.float32)


def truncate_svd(left: Float32, right: Float32, rank: int) -> tuple[Float32, Float32]:
    """The best ``left`` [n, rank] and ``right`` [m, rank] for the product of wider ones, [n, k] and [m, k].

    The singular value decomposition of ``left @ right.T``, found from the small squares of the two.
    """
    left_turn, left_scale = _axes(left)
    right_turn, right_scale = _axes(right)
    core = (left_scale[:, None] * left_turn.T) @ (right_turn * right_scale)
    u, scale, vt = np.linalg.svd(core, full_matrices=False)
    root = np.sqrt(scale[:rank])
    left_mix = left_turn @ (u[:, :rank] / left_scale[:, None] * root)
    right_mix = right_turn @ (vt[:rank].T / right_scale[:, None] * root)
    return left @ left_mix.astype(np.float32), right @ right_mix.astype(np.float32)


def _axes(matrix: Float32) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The right singular vectors [k, axes] of ``matrix`` [n, k] and its singular values, where it has weight."""
    square = np.zeros((matrix.shape[1], matrix.shape[1]))
    for first in range(0, len(matrix), _ROWS_AT_ONCE):
        part = matrix[first : first + _ROWS_AT_ONCE].astype(np.float64)
        square += part.T @ part
    weight, turn = np.linalg.eigh(square)
    kept = weight > _NO_WEIGHT * weight[-1]
    return turn[:, kept], np.sqrt(weight[kept])


def _with_biases(users: Float32, items: Float32) -> tuple[Float32, Float32]:
    """A sample as one product: [n, K + 2] and [m, K + 2], the biases against ones."""
    one = np.float32(1.0)
    left = np.hstack([users, np.full((len(users), 1), one)])
    right = np.hstack([items[:, :-1], np.full((len(items), 1), one), items[:, -1:]])
    return left, right
