"""Gibbs sampler of BPMF: the state of the chain, and one sweep over it.

:mod:`~marquee.models.bpmf.reference_sampler` has the same sweep in plain NumPy; read it first. Here the draws of the
vectors and the residuals run in a compiled kernel.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marquee.models.bpmf.kernel import draw_side, group_ratings, squared_residuals, sums_by_column, width_of
from marquee.models.bpmf.normal_wishart import draw_normal_wishart
from marquee.models.bpmf.simd import LANES, aligned_zeros

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

# Shape of the Gamma prior of the noise weights h, whose mean is 1: how much the raters' noise may differ.
NOISE_SHAPE = 10.0

# Parallel tasks of about equal work; the same for any number of threads, so that the bits are the same.
TASKS = 64
# Tasks of the sums by item; each task needs one number an item.
SUM_TASKS = 8
# Cost of drawing a row beside its ratings, in ratings.
_ROW_COST = 40


@dataclass
class Side:
    """Users or items: their ratings by row, their vectors, and their prior.

    A vector is [factors..., bias], ``width`` = K + 1 numbers.
    """

    start: NDArray[np.int64]
    column: NDArray[np.int32]
    rating: Float32
    width: int
    vectors: Float32 = field(init=False)
    noise: Float32 = field(init=False)
    blocks: Sequence[Float32] = ()
    links: list[Float32] = field(default_factory=list)
    link_precision: list[float] = field(default_factory=list)
    _column_squares: list[Float64] = field(default_factory=list)
    _all_blocks: Float32 = field(init=False)

    def __post_init__(self) -> None:
        self.vectors = aligned_zeros(self.rows * self.width).reshape(self.rows, self.width)
        self.noise = np.ones(self.rows, np.float32)

    def set_features(self, blocks: Sequence[Float32]) -> None:
        """Put feature blocks [rows, features] with orthogonal columns into the prior mean."""
        self._all_blocks = np.hstack(blocks) if blocks else np.zeros((self.rows, 0), np.float32)
        # Views of the concatenation, so that the features are in memory once.
        bounds = np.cumsum([0, *(block.shape[1] for block in blocks)])
        self.blocks = [self._all_blocks[:, a:b] for a, b in itertools.pairwise(bounds)]
        self.links = [np.zeros((block.shape[1], self.width), np.float32) for block in blocks]
        self.link_precision = [1.0] * len(blocks)
        self._column_squares = [np.square(block, dtype=np.float64).sum(axis=0) for block in blocks]

    @property
    def rows(self) -> int:
        """Number of users or items."""
        return len(self.start) - 1

    def rating_rows(self) -> NDArray[np.int32]:
        """Return the row of each rating, [ratings]."""
        return np.repeat(np.arange(self.rows, dtype=np.int32), np.diff(self.start))

    def task_bounds(self, count: int) -> NDArray[np.int64]:
        """Divide the rows into ``count`` tasks of about equal work: bounds [count + 1]."""
        work = self.start + _ROW_COST * np.arange(self.rows + 1)
        bounds = np.searchsorted(work, np.linspace(0, work[-1], count + 1))
        bounds[-1] = self.rows
        return bounds.astype(np.int64)

    def draw_prior(self, rng: np.random.Generator) -> tuple[Float64, Float32]:
        """Draw the prior's (m, Lambda), then each block's link matrix and its precision.

        Returns Lambda [width, width] and the prior mean of every row, [rows, width].
        """
        residual = self.vectors - self._explained()
        mean, precision = draw_normal_wishart(residual, self.links, self.link_precision, rng)
        root = np.linalg.cholesky(np.linalg.inv(precision))
        residual -= mean.astype(np.float32)
        for k, block in enumerate(self.blocks):
            previous = self.links[k]
            # X^T X is diagonal, so the squares add back the part that the block explains, without a product.
            moment = block.T @ residual + self._column_squares[k][:, None] * previous
            self._draw_link(k, moment, root, rng)
            residual -= block @ (self.links[k] - previous)
            self._draw_link_precision(k, precision, rng)
        residual *= np.float32(-1.0)
        # vectors - residual is the prior mean: m and the part that the features explain.
        residual += self.vectors
        return precision, residual

    def _explained(self) -> Float32:
        """Return the features' part of each vector, [rows, width]."""
        if not self.blocks:
            return np.zeros_like(self.vectors)
        explained: Float32 = self._all_blocks @ np.vstack(self.links)
        return explained

    def _draw_link(self, k: int, moment: Float64, root: Float64, rng: np.random.Generator) -> None:
        # With a diagonal X^T X the rows of the link matrix are independent.
        precision = (self._column_squares[k] + self.link_precision[k])[:, None]
        normals = rng.standard_normal(moment.shape) @ root.T
        self.links[k] = (moment / precision + normals / np.sqrt(precision)).astype(np.float32)

    def _draw_link_precision(self, k: int, precision: Float64, rng: np.random.Generator) -> None:
        link = self.links[k].astype(np.float64)
        quadratic_form = float(np.sum((link @ precision) * link))
        self.link_precision[k] = rng.gamma(1.0 + link.size / 2, 1.0 / (1.0 + quadratic_form / 2))


class Sampler:
    """One Markov chain. ``users.vectors`` and ``items.vectors`` are the current sample.

    ``user``, ``item`` int [ratings] and ``rating`` float [ratings]; each pair once. ``factors`` is rounded up, so that
    factors and bias fill whole vector registers: 15, 31, 47. The seed determines the chain to the bit, whatever the
    number of threads.
    """

    def __init__(
        self,
        user: NDArray[np.integer],
        item: NDArray[np.integer],
        rating: NDArray[np.floating],
        shape: tuple[int, int],
        *,
        factors: int,
        seed: int = 0,
    ) -> None:
        self.mean = float(np.mean(rating, dtype=np.float64))
        self.width = -(-(factors + 1) // LANES) * LANES
        self._width = width_of(self.width)
        self.rng = np.random.default_rng(seed)
        centred = np.subtract(rating, self.mean, dtype=np.float32, casting="same_kind")
        self.users, self.items = _group_by_side(user, item, centred, shape, self.width)
        self.alpha = 1.0 / max(float(np.var(centred)), 1e-6)
        self._squares = np.empty(len(centred), np.float32)
        self.sweeps = 0
        for side in (self.users, self.items):
            side.vectors[:] = 0.1 * self.rng.standard_normal(side.vectors.shape, dtype=np.float32)

    def sweep(self) -> None:
        """Draw every variable once, each given all others."""
        self._draw_vectors(self.users, self.items)
        self._draw_vectors(self.items, self.users)
        self._draw_noise()
        self.sweeps += 1

    def _draw_vectors(self, side: Side, other: Side) -> None:
        precision, prior_mean = side.draw_prior(self.rng)
        single = precision.astype(np.float32)
        draw_side(
            self._width,
            side.task_bounds(TASKS),
            side.start,
            side.column,
            side.rating,
            other.vectors,
            side.noise,
            other.noise,
            np.float32(self.alpha),
            single.ravel(),
            prior_mean @ single,
            self.rng.standard_normal(side.vectors.shape, dtype=np.float32),
            side.vectors,
        )

    def _draw_noise(self) -> None:
        users, items = self.users, self.items
        squares, by_user = self._squares, np.empty(users.rows)
        squared_residuals(
            self._width,
            users.task_bounds(TASKS),
            users.start,
            users.column,
            users.rating,
            users.vectors,
            items.vectors,
            items.noise,
            squares,
            by_user,
        )
        users.noise = self._draw_noise_weights(by_user, np.diff(users.start))
        sums = np.empty((SUM_TASKS, items.rows))
        sums_by_column(users.task_bounds(SUM_TASKS), users.start, users.column, squares, users.noise, sums)
        by_item = sums.sum(axis=0)
        items.noise = self._draw_noise_weights(by_item, np.diff(items.start))
        total = float(by_item @ items.noise)
        self.alpha = self.rng.gamma(1.0 + len(squares) / 2, 1.0 / (1.0 + total / 2))

    def _draw_noise_weights(self, squares: NDArray[Any], count: NDArray[np.integer]) -> Float32:
        shape = NOISE_SHAPE + count / 2
        rate = NOISE_SHAPE + self.alpha * squares / 2
        return np.asarray(self.rng.gamma(shape, 1.0 / rate), np.float32)


def _group_by_side(
    user: NDArray[np.integer], item: NDArray[np.integer], rating: Float32, shape: tuple[int, int], width: int
) -> tuple[Side, Side]:
    """Return the ratings by user, in order of the item, and by item, in order of the user."""
    users, items = np.asarray(user, np.int32), np.asarray(item, np.int32)
    by_item = Side(*_group(items, users, rating, shape[1]), width)
    by_user = Side(*_group(by_item.column, by_item.rating_rows(), by_item.rating, shape[0]), width)
    by_item.column, by_item.rating = _group(by_user.column, by_user.rating_rows(), by_user.rating, shape[1])[1:]
    return by_user, by_item


def _group(
    row: NDArray[np.int32], column: NDArray[np.int32], rating: Float32, rows: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], Float32]:
    """Return ``start`` [rows + 1], and columns and ratings in order of their row."""
    start = np.zeros(rows + 1, np.int64)
    np.cumsum(np.bincount(row, minlength=rows), out=start[1:])
    columns, ratings = np.empty_like(column), np.empty_like(rating)
    group_ratings(row, column, rating, start[:-1].copy(), columns, ratings)
    return start, columns, ratings
