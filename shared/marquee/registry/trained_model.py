"""What a trainer hands over: plain arrays that rate and rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from marquee.errors import ArtifactRefused
from marquee.scoring.arrays import Floats, check_array, item_shapes, no_cohorts


@dataclass(frozen=True, slots=True)
class Histories:
    """Every user's movies, one user after the other: user ``u`` has rows ``indptr[u]:indptr[u + 1]``."""

    indptr: NDArray[np.int64]  # [n_users + 1]
    items: NDArray[np.uint32]  # [n] rows of the item side
    ratings: Floats  # [n]; NaN where the movie was watched and not rated
    weights: Floats  # [n] how much the movie counts for the ranking head

    @classmethod
    def of(
        cls,
        n_users: int,
        users: NDArray[np.integer],
        items: NDArray[np.integer],
        ratings: NDArray[np.floating],
        weights: NDArray[np.floating] | None = None,
    ) -> Histories:
        """Group entries, in any order, by their user; within one user the order stays. Weights: 1."""
        order = np.argsort(users, kind="stable")
        indptr = np.zeros(n_users + 1, np.int64)
        np.cumsum(np.bincount(users, minlength=n_users), out=indptr[1:])
        weights = np.ones(len(items), np.float32) if weights is None else weights
        return cls(
            indptr,
            items[order].astype(np.uint32),
            ratings[order].astype(np.float32),
            weights[order].astype(np.float32),
        )


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """Two linear heads over ``n_items`` movies, and what is known of ``n_users`` users.

    Rating: ``mean + user_biases[u] + item_biases[i] + user_vectors[u] . item_vectors[i]``.
    Ranking: ``(sum of weight * rank_history[j] over the user's movies j) . rank_items[i]``.
    A user is folded in from the Gaussian prior of ``theta = [vector, bias]``, of length k + 1.
    """

    user_ids: Sequence[str]
    movie_ids: Sequence[str]
    mean: float
    user_biases: Floats  # [n_users]
    user_vectors: Floats  # [n_users, k]
    item_biases: Floats  # [n_items]
    item_vectors: Floats  # [n_items, k]
    rank_items: Floats  # [n_items, r]
    rank_history: Floats  # [n_items, r]
    popularity: Floats  # [n_items], not negative; the more, the more popular
    histories: Histories
    rating_min: float
    rating_max: float
    prior_mean: Floats  # [k + 1]
    prior_precision: Floats  # [k + 1, k + 1], symmetric and positive definite
    noise_precision: float  # one over the variance of a rating about its prediction
    cohort_names: Sequence[str] = ()  # see marquee.scoring.cohort_scores
    cohort_scores: Floats = field(default_factory=no_cohorts)
    """[n_cohorts, n_items]: to be added to the logarithm of the popularity, for a user of these cohorts."""

    def check(self) -> None:
        """Raise :class:`ArtifactRefused` unless every shape, type and number is sound."""
        for name, shape in self._shapes().items():
            check_array(name, getattr(self, name), shape)
        if self.cohort_names:
            shape = (len(self.cohort_names), len(self.movie_ids))
            check_array("cohort_scores", self.cohort_scores, shape)
        self._check_scalars()
        self._check_histories()
        if len(set(self.movie_ids)) != len(self.movie_ids) or not self.movie_ids or "" in self.movie_ids:
            raise ArtifactRefused("movie_ids should hold at least one movie, none of them empty or twice")

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        n_users, n_items, k = len(self.user_ids), len(self.movie_ids), self.item_vectors.shape[-1]
        return {
            "user_biases": (n_users,),
            "user_vectors": (n_users, k),
            **item_shapes(n_items, k, self.rank_items.shape[-1]),
        }

    def _check_scalars(self) -> None:
        scalars = (self.mean, self.rating_min, self.rating_max, self.noise_precision)
        if not (
            np.isfinite(scalars).all() and self.rating_min < self.rating_max and self.noise_precision > 0
        ):
            raise ArtifactRefused(
                f"mean {self.mean}, rating_min {self.rating_min}, rating_max {self.rating_max} and "
                f"noise_precision {self.noise_precision} should be finite, in order, and the last above 0"
            )

    def _check_histories(self) -> None:
        h, n_users = self.histories, len(self.user_ids)
        lengths = {len(h.items), len(h.ratings), len(h.weights)}
        ends = h.indptr[[0, -1]].tolist() if len(h.indptr) else []
        if len(h.indptr) != n_users + 1 or lengths != {ends[-1]} or ends[0] or (np.diff(h.indptr) < 0).any():
            raise ArtifactRefused(f"histories should cover {n_users} users with rows that follow each other")
        if len(h.items) and int(h.items.max()) >= len(self.movie_ids):
            raise ArtifactRefused("histories name movies that are not in movie_ids")
        if not np.isfinite(h.weights).all() or np.isinf(h.ratings).any():
            raise ArtifactRefused("histories hold weights or ratings that are not finite")
