"""Trained model: the arrays that a trainer returns and an artifact stores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from marquee.errors import ArtifactRefused
from marquee.registry.movie_metadata import NO_METADATA, MovieMetadata
from marquee.scoring.arrays import Floats, check_array, empty_matrix, item_shapes
from marquee.scoring.level_drift import NO_DRIFT, Drift


@dataclass(frozen=True, slots=True)
class Histories:
    """Items of every user in compressed sparse row form: user ``u`` has entries ``indptr[u]:indptr[u + 1]``."""

    indptr: NDArray[np.int64]  # [n_users + 1]
    items: NDArray[np.uint32]  # [n] item rows
    ratings: Floats  # [n]; NaN where the item was watched and not rated
    weights: Floats  # [n] interaction weights of the ranking model

    @classmethod
    def from_entries(
        cls,
        n_users: int,
        users: NDArray[np.integer],
        items: NDArray[np.integer],
        ratings: NDArray[np.floating],
        weights: NDArray[np.floating] | None = None,
    ) -> Histories:
        """Group entries by user, keeping their order within a user; ``weights`` defaults to 1."""
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
    """A rating and a ranking model over ``n_items`` items, and the data of ``n_users`` users.

    The rating model predicts ``mean + user_biases[u] + item_biases[i] + user_vectors[u] . item_vectors[i]``.
    The ranking model scores ``(sum of weight * rank_history[j] over the user's items j) . rank_items[i]``.
    Fold-in uses the Gaussian prior of ``theta = [vector, bias]``, of length k + 1.
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
    popularity: Floats  # [n_items], not negative; higher is more popular
    histories: Histories
    rating_min: float
    rating_max: float
    prior_mean: Floats  # [k + 1]
    prior_precision: Floats  # [k + 1, k + 1], symmetric and positive definite
    noise_precision: float  # One over the variance of a rating around its prediction.
    cohort_names: Sequence[str] = ()  # See marquee.scoring.cohort_scores.
    cohort_scores: Floats = field(default_factory=empty_matrix)
    """[n_cohorts, n_items], added to the log popularity for a user of the cohort."""
    prior_implicit: Floats = field(default_factory=empty_matrix)
    """[n_items, k + 1], implicit feedback of :mod:`marquee.scoring.fold_in`; empty for none."""
    drift: Drift = NO_DRIFT
    metadata: MovieMetadata = NO_METADATA
    trend: Floats | None = None
    """[n_items], above 0: the factor that growth in popularity has in each row of ``rank_items``; None: unknown."""
    popularity_columns: int = 0
    """Number of the last columns of the ranking model that score recent popularity."""

    def check(self) -> None:
        """Raise :class:`ArtifactRefused` unless shapes, types and values are valid."""
        for name, shape in self._shapes().items():
            check_array(name, getattr(self, name), shape)
        if self.cohort_names:
            shape = (len(self.cohort_names), len(self.movie_ids))
            check_array("cohort_scores", self.cohort_scores, shape)
        if self.prior_implicit.size:
            check_array("prior_implicit", self.prior_implicit, (len(self.movie_ids), len(self.prior_mean)))
        self.metadata.check(len(self.movie_ids))
        self._check_trend()
        self._check_scalars()
        self._check_histories()
        if len(set(self.movie_ids)) != len(self.movie_ids) or not self.movie_ids or "" in self.movie_ids:
            raise ArtifactRefused("movie_ids must hold at least one id, all distinct and none empty")

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        n_users, n_items, k = len(self.user_ids), len(self.movie_ids), self.item_vectors.shape[-1]
        return {
            "user_biases": (n_users,),
            "user_vectors": (n_users, k),
            **item_shapes(n_items, k, self.rank_items.shape[-1]),
        }

    def _check_trend(self) -> None:
        if self.trend is not None:
            check_array("trend", self.trend, (len(self.movie_ids),))
            if not (self.trend > 0).all():
                raise ArtifactRefused("trend must be above 0")
        if not 0 <= self.popularity_columns <= self.rank_items.shape[-1]:
            raise ArtifactRefused(
                f"popularity_columns is {self.popularity_columns}; the ranking model has {self.rank_items.shape[-1]}"
            )

    def _check_scalars(self) -> None:
        scalars = (self.mean, self.rating_min, self.rating_max, self.noise_precision)
        if not (np.isfinite(scalars).all() and self.rating_min < self.rating_max and self.noise_precision > 0):
            raise ArtifactRefused(
                f"mean {self.mean}, rating_min {self.rating_min}, rating_max {self.rating_max} and "
                f"noise_precision {self.noise_precision} must be finite, with rating_min below rating_max and "
                "noise_precision above 0"
            )

        self.drift.check()

    def _check_histories(self) -> None:
        h, n_users = self.histories, len(self.user_ids)
        lengths = {len(h.items), len(h.ratings), len(h.weights)}
        ends = h.indptr[[0, -1]].tolist() if len(h.indptr) else []
        if len(h.indptr) != n_users + 1 or lengths != {ends[-1]} or ends[0] or (np.diff(h.indptr) < 0).any():
            raise ArtifactRefused(
                f"histories must have non-decreasing offsets for {n_users} users and columns of one length"
            )
        if len(h.items) and int(h.items.max()) >= len(self.movie_ids):
            raise ArtifactRefused("histories contain item rows beyond movie_ids")
        if not np.isfinite(h.weights).all() or np.isinf(h.ratings).any():
            raise ArtifactRefused("histories hold weights that are not finite, or infinite ratings")
