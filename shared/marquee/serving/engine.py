"""Scoring engine of one artifact: from a user's state to a list of movies."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

import msgspec
import numpy as np

from marquee.errors import ArtifactRefused, ObjectNotFound
from marquee.registry.item_factors import ItemFactors, query_vector
from marquee.registry.item_store import read_items
from marquee.registry.manifest import ResidualInterval
from marquee.registry.object_store.object_store import ObjectStore, get_mapper
from marquee.registry.smoke_test import run_smoke_test
from marquee.registry.user_store import UserRecord, UserStore
from marquee.scoring.cohort_scores import score_cohorts
from marquee.scoring.fold_in import FoldIn, Prior
from marquee.scoring.quantized_topk import QuantizedTopK, build_quantized_topk, score_items
from marquee.scoring.topk import top_n
from marquee.serving.exploration import NO_EXPLORATION, Exploration
from marquee.serving.user_state import EMPTY, UserState

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

MAX_CACHED_RECORDS = 2_000
"""User records in memory, a few kilobytes each. They never expire, because an artifact never changes."""


Cohorts = Sequence[tuple[str, float]]
"""Names of cohorts with their weights."""

RowScorer: TypeAlias = Callable[[list[int]], list[float]]
"""Function that returns the scores of item rows."""


class Tier(StrEnum):
    """Fallback level of a list."""

    PERSONALISED = "personalised"  # From the artifact's record of the user.
    FOLDED_IN = "folded-in"  # From interactions that the artifact lacks, or a user that it lacks.
    COHORT = "cohort"  # No history: from demographics and stated interests.
    POPULAR = "popular"  # Nothing is known of the user.
    LAST_RESORT = "last-resort"  # A non-personalized list, because ranking or the database failed.


class ScoredMovie(msgspec.Struct, frozen=True, gc=False):  # Creating a dataclass instance takes four times as long.
    """One movie of a list: ``score`` orders the list, ``rating`` is the predicted rating."""

    movie_id: str
    score: float
    rating: float | None
    propensity: float = 1.0
    """Probability with which the movie was shown in this position."""


class Engine:
    """Ranks and rates with one artifact. Deterministic but for exploration; safe to share between threads."""

    def __init__(self, item_factors: ItemFactors, users: UserStore, *, maps_users: bool = False) -> None:
        self.item_factors = item_factors
        self.users = users
        self.maps_users = maps_users  # The user store is a mapped local file.
        self.version = item_factors.manifest.version
        self.trained_through: datetime = item_factors.manifest.trained_through
        self._fold_in = _make_fold_in(item_factors)
        self._records: OrderedDict[str, UserRecord | None] = OrderedDict()
        self._damaged: set[str] = set()
        self._records_lock = threading.Lock()
        self.topk_index: QuantizedTopK | None = None
        self.prepared = False
        self._popular_rows: list[int] = []

    @classmethod
    def load(cls, store: ObjectStore, version: str) -> Engine:
        """Read, verify and smoke-test an artifact.

        Raises :class:`ArtifactRefused` if it must not serve, and the store's errors.
        """
        try:
            item_factors = read_items(store, version)
        except ObjectNotFound as error:
            raise ArtifactRefused(f"there is no artifact {version}: {error}") from error
        users = UserStore(store, item_factors.manifest)
        users.check_sizes()
        run_smoke_test(item_factors, users)
        _check_prior(item_factors)
        return cls(item_factors, users, maps_users=get_mapper(store) is not None)

    def prepare(self) -> None:
        """Build the top-k index. It takes as long as a few requests, and makes all later ones faster."""
        self.topk_index = build_quantized_topk(self.item_factors.rank_items)
        self.prepared = True

    def get_cached_record(self, user_id: str) -> tuple[bool, UserRecord | None]:
        """Return whether the user's record is cached, and the record: None for a user that the artifact lacks."""
        with self._records_lock:
            if user_id not in self._records:
                return False, None
            self._records.move_to_end(user_id)
            return True, self._records[user_id]

    def read_record(self, user_id: str) -> UserRecord | None:
        """Read and cache the user's record; None if the artifact has none. Raises the store's errors.

        A corrupt record is logged and treated as missing; see :meth:`is_damaged`.
        """
        is_damaged = False
        try:
            record = self.users.read(user_id)
        except ArtifactRefused as error:
            log.error("serving without the stored record of a user: %s", error)
            record, is_damaged = None, True
        with self._records_lock:
            self._records[user_id] = record
            if is_damaged:
                self._damaged.add(user_id)
            if len(self._records) > MAX_CACHED_RECORDS:
                self._damaged.discard(self._records.popitem(last=False)[0])
        return record

    def is_damaged(self, user_id: str) -> bool:
        """Return whether the user's cached record is missing because it is corrupt."""
        return user_id in self._damaged

    def recommend(self, state: UserState, n: int) -> tuple[Tier, list[ScoredMovie]]:
        """Return the tier and the ``n`` best movies for the user, best first, without those they have seen."""
        return self.explore(state, n, NO_EXPLORATION)[:2]

    def explore(
        self, state: UserState, n: int, exploration: Exploration, cohorts: Cohorts = ()
    ) -> tuple[Tier, list[ScoredMovie], bool]:
        """Return a list like :meth:`recommend`, with exploration, and whether all of it was drawn uniformly.

        ``cohorts`` are used for a user without a history; cohorts that the artifact does not have are ignored.
        """
        n_ranked = n + exploration.extra_candidates
        factors = self.item_factors
        cohort_weights = [(factors.cohorts[name], weight) for name, weight in cohorts if name in factors.cohorts]
        score_rows = _lookup(factors.popularity)
        if len(state.items):
            tier = Tier.FOLDED_IN if state.has_new_items else Tier.PERSONALISED
            ranked, score_rows = self._rank_by_history(state, n_ranked)
        elif cohort_weights:
            scores = self._score_cohorts(cohort_weights)
            tier, ranked, score_rows = Tier.COHORT, top_n(scores, n_ranked).tolist(), _lookup(scores)
        else:
            tier, ranked = Tier.POPULAR, self._rank_by_popularity(n_ranked)
        seen = set(state.items.tolist())
        rows, propensities, uniform = exploration.choose(ranked, n, seen, len(factors.movie_ids))
        return tier, self._make_movies(state, rows, score_rows(rows), propensities), uniform

    def _rank_by_history(self, state: UserState, n: int) -> tuple[list[int], RowScorer]:
        """Return the ``n`` best rows for a user with a history, best first, and a scorer of any rows."""
        vectors = self.item_factors.rank_items
        query = query_vector(self.item_factors, state.items, state.weights)
        best = self.topk_index.search(query, n, state.items) if self.topk_index else None
        if best is None:
            scores: NDArray[np.float32] = vectors @ query
            return top_n(scores, n, state.items).tolist(), _lookup(scores)
        ranked = best[0].tolist()
        known_scores = dict(zip(ranked, best[1].tolist(), strict=True))

        def score_rows(rows: list[int]) -> list[float]:
            try:
                return [known_scores[row] for row in rows]
            except KeyError:  # A list drawn uniformly.
                scores: list[float] = score_items(vectors, np.array(rows), query).tolist()
                return scores

        return ranked, score_rows

    def _score_cohorts(self, cohort_weights: list[tuple[int, float]]) -> NDArray[np.float32]:
        rows, weights = zip(*cohort_weights, strict=True)
        return score_cohorts(self.item_factors.popularity, self.item_factors.cohort_scores[list(rows)], weights)

    def _rank_by_popularity(self, n: int) -> list[int]:
        if len(self._popular_rows) < n:
            self._popular_rows = top_n(self.item_factors.popularity, n).tolist()
        return self._popular_rows[:n]

    def list_popular(self, n: int) -> list[ScoredMovie]:
        """Return the ``n`` most popular movies, not personalized."""
        return self.recommend(EMPTY, n)[1]

    def predict(self, state: UserState, rows: Sequence[int] | NDArray[np.integer]) -> list[float]:
        """Return the predicted ratings of some items, [len(rows)], clipped to the scale.

        Uses the stored vector, or one from fold-in if there are new ratings or there is no record.
        """
        vector, bias = self._get_theta(state)
        factors, manifest, positions = self.item_factors, self.item_factors.manifest, np.array(rows, np.intp)
        raw = np.vecdot(factors.item_vectors.take(positions, axis=0), vector)
        raw += factors.item_biases.take(positions)
        # Python numbers from here: for the few movies of one list, three more NumPy calls take longer.
        base, low, high = manifest.mean + bias, manifest.rating_min, manifest.rating_max
        return [min(max(own + base, low), high) for own in raw.tolist()]

    def residual_interval(self, state: UserState) -> ResidualInterval | None:
        """Return the interval of the residuals of the user's ratings; None if it was not calibrated."""
        prediction_intervals = self.item_factors.manifest.prediction_intervals
        if not prediction_intervals:
            return None
        n_ratings = int(np.count_nonzero(state.ratings == state.ratings))  # Not NaN.
        return next((band for band in reversed(prediction_intervals) if band.known <= n_ratings), None)

    def _get_theta(self, state: UserState) -> tuple[NDArray[np.float32], float]:
        if state.record is not None and not state.has_new_ratings:
            return state.record.vector, state.record.bias
        rated = ~np.isnan(state.ratings)
        return self._fold_in.posterior_mean(state.items[rated], state.ratings[rated])

    def _make_movies(
        self, state: UserState, rows: list[int], scores: list[float], propensities: Sequence[float]
    ) -> list[ScoredMovie]:
        movie_ids = map(self.item_factors.movie_ids.__getitem__, rows)
        return list(map(ScoredMovie, movie_ids, scores, self.predict(state, rows), propensities))


def _lookup(scores: NDArray[np.float32]) -> RowScorer:
    """Return a scorer that looks up ``scores`` [n_items]."""
    return lambda rows: scores[rows].tolist()


def _make_fold_in(factors: ItemFactors) -> FoldIn:
    manifest, implicit = factors.manifest, factors.prior_implicit
    prior = Prior(
        factors.prior_mean,
        factors.prior_precision,
        manifest.noise_precision,
        manifest.drift,
        implicit if len(implicit) else None,
    )
    return FoldIn(factors.item_vectors, factors.item_biases, manifest.mean, prior)


def _check_prior(item_factors: ItemFactors) -> None:
    """Raise :class:`ArtifactRefused` unless the prior is a proper Gaussian, which fold-in needs."""
    try:
        np.linalg.cholesky(item_factors.prior_precision.astype(np.float64))
    except np.linalg.LinAlgError as error:
        raise ArtifactRefused(f"prior_precision of {item_factors.manifest.version} is not positive definite") from error
