"""Temporal cuts on which parameters of the ranking model are compared.

A cut trains on the interactions before a time, and ranks for the users who liked an item in the slice after it. For
large data the regression is fitted on the most popular items and a sample of the users. Popularity is that of
all data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from marquee.data.interactions import WeightedInteractions
from marquee.evaluation import metrics
from marquee.models.dense_inverse import DenseInverse, dense_gram
from marquee.models.item_regression import Float32, ItemRegression, ScoreOperator, reduce_rank
from marquee.models.popularity import Popularity, count_all, decay_counts, smooth_counts

Floats = NDArray[np.float64]
Rows = NDArray[np.bool_]

_LENGTH = 10  # Of the lists.
_PASSES = 2  # Of the subspace iteration; comparisons need fewer than what serves.


class TuningParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Effort of the search.

    - ``budget_s``: seconds of CPU time on a nominal machine; 0 keeps the configured values
    - ``cuts``: slices before the evaluated one
    - ``max_movies``, ``max_ratings``, ``max_users``: limits of a cut: items of the regression, its interactions, and
      users who are ranked
    """

    budget_s: float
    cuts: int
    max_movies: int
    max_ratings: int
    max_users: int


class Cut:
    """One cut: the interactions before it, and the likes in the slice after it.

    ``users`` are the rows of the n ranked users, ``items`` the m rows of the regression's items.
    """

    def __init__(
        self,
        before: WeightedInteractions,
        liked: WeightedInteractions,
        shape: tuple[int, int],
        half_lives: Sequence[float],
        size: TuningParams,
        seed: int,
    ) -> None:
        rng = np.random.default_rng(seed)
        n_users, n_items = shape
        counts = np.bincount(before.items, minlength=n_items)
        self.items = np.sort(np.argsort(-counts, kind="stable")[: size.max_movies])
        column = np.full(n_items, -1)
        column[self.items] = np.arange(len(self.items))
        liked = take(liked, column[liked.items] >= 0)
        self.users = sample_users(np.unique(liked.users), size.max_users, rng)
        self._all_time = count_all(before, n_items)
        self._decayed = {days: decay_counts(before, n_items, days) for days in half_lives}
        row = np.full(n_users, -1)
        row[self.users] = np.arange(len(self.users))
        self.relevant = mark_pairs(row, column, liked, (len(self.users), len(self.items)))
        inside = take(before, column[before.items] >= 0)
        self.seen = mark_pairs(row, column, inside, self.relevant.shape)
        self.history = _weigh(row, column, inside, self.relevant.shape)
        self.history_weights = np.bincount(before.users, before.weights, n_users)[self.users].astype(np.float32)
        self.is_new = np.bincount(before.users, minlength=n_users)[self.users] == 0
        sampled = _sample_interactions(inside, n_users, size.max_ratings, rng)
        packed = replace(sampled, items=column[sampled.items].astype(np.int32))
        self._regression = ItemRegression.from_interactions(packed, (n_users, len(self.items)), 1.0, 0.0)
        self.n_interactions = len(sampled.users)
        self._gram = dense_gram(self._regression.history_by_item)

    def popularity(self, half_life_days: float, prior_likes: float) -> Popularity:
        """Return the popularity of all items as of the cut; ``half_life_days`` is one of those given."""
        return smooth_counts(self._all_time, self._decayed[half_life_days], prior_likes)

    def score(self, ridge: float, dropout: float, rank: int, seed: int) -> Float32:
        """Fit the regression, and return the scores [n, m] of the ranked users without popularity terms."""
        regression = self._regression.with_penalty(ridge, dropout)
        inverse = DenseInverse(regression, self._gram.copy())
        factors = reduce_rank(ScoreOperator(regression, inverse), rank, seed, _PASSES)
        history, items = (a.astype(np.float32) for a in (factors.rank_history, factors.rank_items))
        scores: Float32 = (self.history @ history) @ items.T
        return scores

    def measure(self, scores: Float32, popularity: Popularity, trend_exponent: float, weight: float) -> Floats:
        """Return the NDCG@10 [n] of the lists by ``scores`` with popularity terms; new users get the popular list."""
        recent = popularity.recent[self.items].astype(np.float32)
        growth = (popularity.growth[self.items] ** trend_exponent).astype(np.float32)
        blended = scores * growth
        blended += (weight * self.history_weights)[:, None] * recent
        blended[self.is_new] = recent
        blended[self.seen] = -np.inf
        return ndcg_of_lists(blended, self.relevant)


def ndcg_of_lists(scores: Float32, relevant: Rows) -> Floats:
    """Return the NDCG@10 [n] of the lists by ``scores`` [n, m]; each user has a ``relevant`` item."""
    length = min(_LENGTH, scores.shape[1])
    best = np.argpartition(-scores, length - 1, axis=1)[:, :length]
    order = np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable")
    hits = np.take_along_axis(relevant, np.take_along_axis(best, order, 1), 1)
    return metrics.ndcg(hits, relevant.sum(1))


def take(interactions: WeightedInteractions, rows: Rows) -> WeightedInteractions:
    """Return the rows for which the mask is true."""
    return WeightedInteractions(*(getattr(interactions, field.name)[rows] for field in fields(interactions)))


def sample_users(users: NDArray[np.int32], limit: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Return at most ``limit`` of the users, in order."""
    return users if len(users) <= limit else np.sort(rng.choice(users, limit, replace=False))


def _sample_interactions(
    interactions: WeightedInteractions, n_users: int, limit: int, rng: np.random.Generator
) -> WeightedInteractions:
    """Return the interactions of random users, as many users as have about ``limit`` interactions together."""
    if len(interactions.users) <= limit:
        return interactions
    chosen = rng.random(n_users) < limit / len(interactions.users)
    return take(interactions, chosen[interactions.users])


def mark_pairs(
    row: NDArray[np.int64], column: NDArray[np.int64], pairs: WeightedInteractions, shape: tuple[int, int]
) -> Rows:
    """Return [n, m], true for the pairs of ranked users."""
    marks = np.zeros(shape, bool)
    rows = row[pairs.users]
    marks[rows[rows >= 0], column[pairs.items[rows >= 0]]] = True
    return marks


def _weigh(
    row: NDArray[np.int64], column: NDArray[np.int64], pairs: WeightedInteractions, shape: tuple[int, int]
) -> csr_array:
    rows = row[pairs.users]
    inside = rows >= 0
    positions = (rows[inside], column[pairs.items[inside]])
    return csr_array((pairs.weights[inside].astype(np.float32), positions), shape=shape)
