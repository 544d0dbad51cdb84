"""Scoring engine of one artifact: from a user's state to a list of movies."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING

import numpy as np

from marquee.errors import ArtifactRefused, ObjectNotFound
from marquee.registry.item_factors import ItemFactors, query_vector
from marquee.registry.item_store import read_items
from marquee.registry.manifest import ResidualInterval
from marquee.registry.object_store.object_store import ObjectStore, get_mapper
from marquee.registry.policy import Policy
from marquee.registry.smoke_test import run_smoke_test
from marquee.registry.user_store import UserRecord, UserStore
from marquee.scoring.fold_in import FoldIn, Prior
from marquee.scoring.quantized_topk import QuantizedTopK, build_quantized_topk
from marquee.serving.list_builder import ListContext, MovieList, build_list
from marquee.serving.list_request import ListRequest
from marquee.serving.movie_rules import MovieRules
from marquee.serving.new_movies import find_new
from marquee.serving.page_token import Page, checksum_ids, find_shown
from marquee.serving.rankings import HistoryRanking, MovieRanking, ScoreRanking
from marquee.serving.scored_movie import Cohorts, ScoredMovie, Tier
from marquee.serving.user_state import UserState

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from marquee.scoring.item_similarity import ItemSimilarity
    from marquee.serving.past_movies import PastMovies

log = logging.getLogger(__name__)

MAX_CACHED_RECORDS = 2_000
"""Maximum number of user records in memory, a few kilobytes each. They do not expire, as artifacts never change."""

_MAX_KEPT_HISTORY = 100
"""Length of a history up to which its past movies are kept with the record: 26 kB at ranks of 32."""

_HIDDEN_POLICIES = 7
"""Number of policies whose hidden rows are cached, in addition to the current one."""


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
        self.rules = MovieRules(item_factors.metadata_file, len(item_factors.movie_ids))
        self.new_movies = find_new(item_factors.popularity)
        self._popular_order: NDArray[np.intp] | None = None
        self._checksums: NDArray[np.uint32] | None = None
        self._hidden: dict[int, tuple[Policy, datetime, datetime | None, NDArray[np.intp]]] = {}

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
        self.item_factors.metadata_file.read()
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

    def find_record(self, user_id: str) -> UserRecord | None:
        """Return the user's record from the cache, or else read it (:meth:`read_record`)."""
        is_cached, record = self.get_cached_record(user_id)
        return record if is_cached else self.read_record(user_id)

    def is_damaged(self, user_id: str) -> bool:
        """Return whether the user's cached record is missing because it is corrupt."""
        return user_id in self._damaged

    def recommend(self, state: UserState, n: int) -> tuple[Tier, list[ScoredMovie]]:
        """Return the tier and the ``n`` best movies for the user, best first, without those they have seen."""
        result = self.make_list(state, ListRequest(n=n), ListContext())
        return result.tier, result.movies

    def make_list(self, state: UserState, request: ListRequest, context: ListContext) -> MovieList:
        """Return the list for the user, with the requested rules, reranking and exploration.

        Cohorts of the context are used for a user without a history; those that the artifact lacks are ignored.
        """
        return build_list(self, state, request, context)

    def rank(self, state: UserState, cohorts: Cohorts) -> tuple[Tier, MovieRanking, list[tuple[int, float]]]:
        """Return the tier, the ranking of the movies, and the rows and weights of the cohorts that it uses."""
        factors = self.item_factors
        if len(state.items):
            tier = Tier.FOLDED_IN if state.has_new_items else Tier.PERSONALISED
            query = query_vector(factors, state.items, state.weights)
            return tier, HistoryRanking(factors.rank_items, query, self.topk_index), []
        cohort_rows = [(factors.cohorts[name], weight) for name, weight in cohorts if name in factors.cohorts]
        if cohort_rows:
            from marquee.scoring.cohort_scores import score_cohorts

            rows, weights = zip(*cohort_rows, strict=True)
            scores = score_cohorts(factors.popularity, factors.cohort_scores[list(rows)], weights)
            return Tier.COHORT, ScoreRanking(scores), cohort_rows
        if self._popular_order is None:
            self._popular_order = (-factors.popularity).argsort(kind="stable")
        return Tier.POPULAR, ScoreRanking(factors.popularity, self._popular_order), []

    def find_rows(self, movie_ids: Iterable[str]) -> NDArray[np.intp]:
        """Return the rows of the movies that the artifact knows."""
        items = self.item_factors.items
        return np.array([items[movie_id] for movie_id in movie_ids if movie_id in items], np.intp)

    def find_hidden(self, policy: Policy, now: datetime) -> NDArray[np.intp]:
        """Return the rows that the policy hides at ``now``; they are cached until a window or pin begins or ends."""
        found = self._hidden.get(id(policy))
        if found is None or found[0] is not policy or not found[1] <= now or (found[2] is not None and now >= found[2]):
            rows = self.find_rows(set(policy.hidden_ids(now)))
            found = policy, now, policy.next_change(now), rows
            self._hidden = {**dict(list(self._hidden.items())[-_HIDDEN_POLICIES:]), id(policy): found}
        return found[3]

    def find_shown(self, page: Page) -> NDArray[np.intp]:
        """Return the rows that earlier pages showed."""
        if self._checksums is None:
            self._checksums = checksum_ids(self.item_factors.movie_ids)
        return find_shown(self._checksums, page)

    def taste_vectors(self, rows: Sequence[int]) -> NDArray[np.float32]:
        """Return the ranking vectors of ``rows`` without the columns of popularity, [len(rows), r']."""
        n_taste = self.item_factors.manifest.ranking_rank - self.item_factors.manifest.popularity_columns
        return self.item_factors.rank_items[list(rows), :n_taste]

    @cached_property
    def similarity(self) -> ItemSimilarity:
        """The similarity of the movies, prepared when it is first asked for."""
        from marquee.scoring.item_similarity import ItemSimilarity

        factors = self.item_factors
        return ItemSimilarity(
            factors.rank_items, factors.rank_history, factors.manifest.popularity_columns, factors.trend
        )

    def predict(self, state: UserState, rows: Sequence[int] | NDArray[np.integer]) -> list[float]:
        """Return the predicted ratings of some items, [len(rows)], clipped to the scale.

        Uses the stored vector, or one from fold-in if there are new ratings or there is no record.
        """
        vector, bias = self._get_theta(state)
        factors, manifest, positions = self.item_factors, self.item_factors.manifest, np.array(rows, np.intp)
        raw = np.vecdot(factors.item_vectors.take(positions, axis=0), vector)
        raw += factors.item_biases.take(positions)
        # Python numbers from here on, which are faster than three more NumPy calls for a few movies.
        base, low, high = manifest.mean + bias, manifest.rating_min, manifest.rating_max
        return [min(max(own + base, low), high) for own in raw.tolist()]

    def find_past(self, state: UserState) -> PastMovies:
        """Return the past movies of a user. Those of a stored record are kept, unless they are many."""
        if state.record is not None and not state.has_new_items and len(state.items) <= _MAX_KEPT_HISTORY:
            return self._past_of_record(state.record)
        from marquee.serving.past_movies import read_past

        return read_past(self.item_factors, self._fold_in, state)

    @cached_property
    def _past_of_record(self) -> Callable[[UserRecord], PastMovies]:
        from marquee.serving.past_movies import read_past

        return lru_cache(MAX_CACHED_RECORDS)(partial(read_past, self.item_factors, self._fold_in))

    def share_ratings(
        self, past: PastMovies, rows: NDArray[np.intp]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the predictions for ``rows`` [m] without any rating, and the share of each past movie, [m, n]."""
        return self._fold_in.shares(past.rating_shares, rows)

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

    def make_movies(
        self,
        state: UserState | None,
        rows: list[int],
        scores: list[float],
        propensities: Sequence[float],
        ranks: Sequence[int],
    ) -> list[ScoredMovie]:
        """Return the movies of ``rows`` with their predicted ratings, or without ratings if ``state`` is None."""
        movie_ids = map(self.item_factors.movie_ids.__getitem__, rows)
        ratings = [None] * len(rows) if state is None else self.predict(state, rows)
        return list(map(ScoredMovie, movie_ids, scores, ratings, propensities, ranks))


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
