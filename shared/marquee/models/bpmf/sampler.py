"""The Gibbs sampler: its state, and one sweep over it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marquee.models.bpmf.kernel import draw_side, group_ratings, squared_residuals, sums_by_column, width_of
from marquee.models.bpmf.simd import LANES, aligned

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

# The shape of the Gamma prior of the noise weights h, whose mean is 1: how far raters may differ in care.
NOISE_SHAPE = 10.0

# Pieces of equal work into which the rows are cut; the same for any number of threads.
TASKS = 64
# Of those by which items are summed up: each needs a number an item.
SUM_TASKS = 8
# What drawing a row costs besides its ratings, in ratings.
_ROW_COST = 40


@dataclass
class Side:
    """Users, or items: their ratings by row, their vectors, and the prior that ties them together.

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
    _square: list[Float64] = field(default_factory=list)
    _all_blocks: Float32 = field(init=False)

    def __post_init__(self) -> None:
        self.vectors = aligned(self.rows * self.width).reshape(self.rows, self.width)
        self.noise = np.ones(self.rows, np.float32)

    def explain_by(self, blocks: Sequence[Float32]) -> None:
        """Let feature blocks [rows, features] with orthogonal columns explain part of the vectors."""
        self._all_blocks = np.hstack(blocks) if blocks else np.zeros((self.rows, 0), np.float32)
        # Parts of the whole: the features are in memory once.
        bounds = np.cumsum([0, *(block.shape[1] for block in blocks)])
        self.blocks = [self._all_blocks[:, a:b] for a, b in itertools.pairwise(bounds)]
        self.links = [np.zeros((block.shape[1], self.width), np.float32) for block in blocks]
        self.link_precision = [1.0] * len(blocks)
        self._square = [np.square(block, dtype=np.float64).sum(axis=0) for block in blocks]

    @property
    def rows(self) -> int:
        """How many users, or items, there are."""
        return len(self.start) - 1

    def row_of_each(self) -> NDArray[np.int32]:
        """The row of each rating, [ratings]."""
        return np.repeat(np.arange(self.rows, dtype=np.int32), np.diff(self.start))

    def tasks(self, count: int) -> NDArray[np.int64]:
        """The rows cut into ``count`` pieces of about equal work: bounds [count + 1]."""
        work = self.start + _ROW_COST * np.arange(self.rows + 1)
        bounds = np.searchsorted(work, np.linspace(0, work[-1], count + 1))
        bounds[-1] = self.rows
        return bounds.astype(np.int64)

    def draw_prior(self, rng: np.random.Generator) -> tuple[Float64, Float32]:
        """Draw (m, Lambda), then each block's link matrix and its precision.

        Returns Lambda [width, width] and the prior mean of every row, [rows, width].
        """
        rest = self.vectors - self._explained()
        mean, precision = draw_normal_wishart(rest, self.links, self.link_precision, rng)
        root = np.linalg.cholesky(np.linalg.inv(precision))
        rest -= mean.astype(np.float32)
        for k, block in enumerate(self.blocks):
            before = self.links[k]
            # X^T X is diagonal: what the block explains comes back by the squares, without a product.
            self._draw_link(k, block.T @ rest + self._square[k][:, None] * before, root, rng)
            rest -= block @ (self.links[k] - before)
            self._draw_link_precision(k, precision, rng)
        rest *= np.float32(-1.0)
        rest += self.vectors  # What is not the rest is the prior's mean: m and what the features explain.
        return precision, rest

    def _explained(self) -> Float32:
        """What the features say of each vector, [rows, width]."""
        if not self.blocks:
            return np.zeros_like(self.vectors)
        said: Float32 = self._all_blocks @ np.vstack(self.links)
        return said

    def _draw_link(self, k: int, moment: Float64, root: Float64, rng: np.random.Generator) -> None:
        # So the rows of the link matrix are independent.
        precision = (self._square[k] + self.link_precision[k])[:, None]
        normals = rng.standard_normal(moment.shape) @ root.T
        self.links[k] = (moment / precision + normals / np.sqrt(precision)).astype(np.float32)

    def _draw_link_precision(self, k: int, precision: Float64, rng: np.random.Generator) -> None:
        link = self.links[k].astype(np.float64)
        spread = float(np.sum((link @ precision) * link))
        self.link_precision[k] = rng.gamma(1.0 + link.size / 2, 1.0 / (1.0 + spread / 2))


def draw_normal_wishart(
    rest: Float32, links: Sequence[Float32], link_precision: Sequence[float], rng: np.random.Generator
) -> tuple[Float64, Float64]:
    """Draw the mean [width] and precision [width, width] of the rows of ``rest`` [rows, width].

    Prior: Wishart of width degrees of freedom and scale 1; the mean is N(0, (2 Lambda)^-1). The link matrices
    have precision ``link_precision`` x Lambda, so they too bear on Lambda.
    """
    rows, width = rest.shape
    mean = rest.mean(axis=0, dtype=np.float64)
    scatter = (rest.T @ rest).astype(np.float64) - rows * np.outer(mean, mean)
    strength = 2.0
    scale_inverse = np.eye(width) + scatter + strength * rows / (strength + rows) * np.outer(mean, mean)
    freedom = width + rows
    for link, weight in zip(links, link_precision, strict=True):
        scale_inverse += weight * (link.T @ link).astype(np.float64)
        freedom += len(link)
    precision = draw_wishart(freedom, np.linalg.inv(scale_inverse), rng)
    root = np.linalg.cholesky(np.linalg.inv(precision * (strength + rows)))
    return rows * mean / (strength + rows) + root @ rng.standard_normal(width), precision


def draw_wishart(freedom: float, scale: Float64, rng: np.random.Generator) -> Float64:
    """Draw from the Wishart distribution by Bartlett's decomposition; the mean is ``freedom`` x ``scale``."""
    width = len(scale)
    lower = np.tril(rng.standard_normal((width, width)), -1)
    lower[np.diag_indices(width)] = np.sqrt(rng.chisquare(freedom - np.arange(width)))
    root = np.linalg.cholesky(scale) @ lower
    return root @ root.T


class Sampler:
    """One Markov chain. ``users.vectors`` and ``items.vectors`` are the current sample; ``sweep`` draws the next.

    ``user``, ``item`` int [ratings] and ``rating`` float [ratings]; each pair once. ``factors`` is rounded up, so that
    the bias with them fills whole vector registers: 15, 31, 47. With the same seed the chain is
    the same to the bit, whatever the threads.
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
        self.users, self.items = _sides(user, item, centred, shape, self.width)
        self.alpha = 1.0 / max(float(np.var(centred)), 1e-6)
        self._square = np.empty(len(centred), np.float32)
        self.sweeps = 0
        for side in (self.users, self.items):
            side.vectors[:] = 0.1 * self.rng.standard_normal(side.vectors.shape, dtype=np.float32)

    def sweep(self) -> None:
        """Draw everything once, each given all the rest."""
        self._draw(self.users, self.items)
        self._draw(self.items, self.users)
        self._draw_noise()
        self.sweeps += 1

    def _draw(self, side: Side, other: Side) -> None:
        precision, prior_mean = side.draw_prior(self.rng)
        single = precision.astype(np.float32)
        draw_side(
            self._width,
            side.tasks(TASKS),
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
        square, by_user = self._square, np.empty(users.rows)
        squared_residuals(
            self._width,
            users.tasks(TASKS),
            users.start,
            users.column,
            users.rating,
            users.vectors,
            items.vectors,
            items.noise,
            square,
            by_user,
        )
        users.noise = self._gamma(by_user, np.diff(users.start))
        sums = np.empty((SUM_TASKS, items.rows))
        sums_by_column(users.tasks(SUM_TASKS), users.start, users.column, square, users.noise, sums)
        by_item = sums.sum(axis=0)
        items.noise = self._gamma(by_item, np.diff(items.start))
        total = float(by_item @ items.noise)
        self.alpha = self.rng.gamma(1.0 + len(square) / 2, 1.0 / (1.0 + total / 2))

    def _gamma(self, square: NDArray[Any], count: NDArray[np.integer]) -> Float32:
        shape = NOISE_SHAPE + count / 2
        rate = NOISE_SHAPE + self.alpha * square / 2
        return np.asarray(self.rng.gamma(shape, 1.0 / rate), np.float32)


def _sides(
    user: NDArray[np.integer], item: NDArray[np.integer], rating: Float32, shape: tuple[int, int], width: int
) -> tuple[Side, Side]:
    """The ratings by user, each user's in order of the item, and by item, each item's in order of the user."""
    users, items = np.asarray(user, np.int32), np.asarray(item, np.int32)
    by_item = Side(*_grouped(items, users, rating, shape[1]), width)
    by_user = Side(*_grouped(by_item.column, by_item.row_of_each(), by_item.rating, shape[0]), width)
    by_item.column, by_item.rating = _grouped(
        by_user.column, by_user.row_of_each(), by_user.rating, shape[1]
    )[1:]
    return by_user, by_item


def _grouped(
    row: NDArray[np.int32], column: NDArray[np.int32], rating: Float32, rows: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], Float32]:
    start = np.zeros(rows + 1, np.int64)
    np.cumsum(np.bincount(row, minlength=rows), out=start[1:])
    columns, ratings = np.empty_like(column), np.empty_like(rating)
    group_ratings(row, column, rating, start[:-1].copy(), columns, ratings)
    return start, columns, ratings
