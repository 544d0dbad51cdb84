"""One artifact, loaded: from a user's profile to a list of movies."""

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
from marquee.registry.object_store.object_store import ObjectStore, mapping
from marquee.registry.smoke_test import smoke_test
from marquee.registry.user_store import UserRecord, UserStore
from marquee.scoring.cohort_scores import mix_cohorts
from marquee.scoring.fold_in import FoldIn, Prior
from marquee.scoring.quantized_topk import QuantizedTopK, build_quantized_topk, scores_of
from marquee.scoring.topk import top_n
from marquee.serving import exploration
from marquee.serving.exploration import Exploration
from marquee.serving.user_state import EMPTY, UserState

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

RECORDS_KEPT = 2_000
"""Records of users in memory, a few kilobytes each; an artifact never changes, so they never age."""


Cohorts = Sequence[tuple[str, float]]

ScoresOf: TypeAlias = Callable[[list[int]], list[float]]
"""The scores of some rows."""


class Tier(StrEnum):
    """How an answer was reached."""

    PERSONALISED = "personalised"  # as the artifact knows the user
    FOLDED_IN = "folded-in"  # with what he did since, or all that he ever did
    COHORT = "cohort"  # no history; what users like him prefer, or what he says that he likes
    POPULAR = "popular"  # nothing is known of him
    LAST_RESORT = "last-resort"  # a list made earlier, for nobody


class ScoredMovie(msgspec.Struct, frozen=True, gc=False):  # A dataclass takes four times as long to make.
    """One movie of an answer: ``score`` orders the list, ``rating`` is what the user should rate it."""

    movie_id: str
    score: float
    rating: float | None
    propensity: float = 1.0
    """The probability with which it was shown in this place."""


class Engine:
    """Answers from one artifact, the same ones for ever. Safe to share between threads."""

    def __init__(self, side: ItemFactors, users: UserStore, *, maps_users: bool = False) -> None:
        self.side = side
        self.maps_users = maps_users  # A look at a user costs a look into memory.
        self.version = side.manifest.version
        self.trained_through: datetime = side.manifest.trained_through
        self._users = users
        prior = Prior(side.prior_mean, side.prior_precision, side.manifest.noise_precision)
        self._fold_in = FoldIn(side.item_vectors, side.item_biases, side.manifest.mean, prior)
        self._records: OrderedDict[str, UserRecord | None] = OrderedDict()
        self._records_lock = threading.Lock()
        self._shortlist: QuantizedTopK | None = None
        self.prepared = False
        self._popular_rows: list[int] = []

    @classmethod
    def load(cls, store: ObjectStore, version: str) -> Engine:
        """Read, check and try out an artifact.

        Raises :class:`ArtifactRefused` if it must not serve, and the store's errors.
        """
        try:
            side = read_items(store, version)
        except ObjectNotFound as error:
            raise ArtifactRefused(f"there is no artifact {version}: {error}") from error
        users = UserStore(store, side.manifest)
        users.check_sizes()
        smoke_test(side, users)
        _check_prior(side)
        return cls(side, users, maps_users=mapping(store) is not None)

    def prepare(self) -> None:
        """Make many answers faster, which takes as long as a few: for those who will ask for many."""
        self._shortlist = build_quantized_topk(self.side.rank_items)
        self.prepared = True

    def known_record(self, user_id: str) -> tuple[bool, UserRecord | None]:
        """Whether the user was looked up before, and if so what was found."""
        with self._records_lock:
            if user_id not in self._records:
                return False, None
            self._records.move_to_end(user_id)
            return True, self._records[user_id]

    def read_record(self, user_id: str) -> UserRecord | None:
        """What the artifact holds of the user, or None; raises the store's errors.

        Bytes that are not the ones written say nothing of him, and are reported.
        """
        try:
            record = self._users.read(user_id)
        except ArtifactRefused as error:
            log.error("answering without the stored row: %s", error)
            record = None
        with self._records_lock:
            self._records[user_id] = record
            if len(self._records) > RECORDS_KEPT:
                self._records.popitem(last=False)
        return record

    def recommend(self, profile: UserState, n: int) -> tuple[Tier, list[ScoredMovie]]:
        """The ``n`` best movies for the user, best first; those he has seen are left out."""
        return self.explore(profile, n, exploration.NONE)[:2]

    def explore(
        self, profile: UserState, n: int, policy: Exploration, cohorts: Cohorts = ()
    ) -> tuple[Tier, list[ScoredMovie], bool]:
        """The same with what ``policy`` leaves to chance, and whether the whole list is a chance one.

        ``cohorts``: names and weights, for a user without a history; names that the artifact does not know
        say nothing.
        """
        longer = n + policy.longer
        known = [(self.side.cohorts[name], by) for name, by in cohorts if name in self.side.cohorts]
        scores_of = _in(self.side.popularity)
        if len(profile.items):
            tier = Tier.FOLDED_IN if profile.fresh else Tier.PERSONALISED
            ranked, scores_of = self._personal(profile, longer)
        elif known:
            scores = self._cohort_scores(known)
            tier, ranked, scores_of = Tier.COHORT, top_n(scores, longer).tolist(), _in(scores)
        else:
            tier, ranked = Tier.POPULAR, self._most_popular(longer)
        seen = set(profile.items.tolist())
        rows, propensities, uniform = policy.choose(ranked, n, seen, len(self.side.movie_ids))
        return tier, self._movies(profile, rows, scores_of(rows), propensities), uniform

    def _personal(self, profile: UserState, n: int) -> tuple[list[int], ScoresOf]:
        """The ``n`` best rows for a user with a history, best first."""
        vectors, own = self.side.rank_items, query_vector(self.side, profile.items, profile.weights)
        best = self._shortlist.best(own, n, profile.items) if self._shortlist else None
        if best is None:
            scores: NDArray[np.float32] = vectors @ own
            return top_n(scores, n, profile.items).tolist(), _in(scores)
        ranked = best[0].tolist()
        known = dict(zip(ranked, best[1].tolist(), strict=True))

        def scores_of_any(rows: list[int]) -> list[float]:
            try:
                return [known[row] for row in rows]
            except KeyError:  # A list by chance.
                chance: list[float] = scores_of(vectors, np.array(rows), own).tolist()
                return chance

        return ranked, scores_of_any

    def _cohort_scores(self, known: list[tuple[int, float]]) -> NDArray[np.float32]:
        rows, weights = zip(*known, strict=True)
        return mix_cohorts(self.side.popularity, self.side.cohort_scores[list(rows)], weights)

    def _most_popular(self, n: int) -> list[int]:
        if len(self._popular_rows) < n:
            self._popular_rows = top_n(self.side.popularity, n).tolist()
        return self._popular_rows[:n]

    def popular(self, n: int) -> list[ScoredMovie]:
        """The most popular movies, whoever asks."""
        return self.recommend(EMPTY, n)[1]

    def ratings(self, profile: UserState, rows: Sequence[int] | NDArray[np.integer]) -> list[float]:
        """The predicted ratings of some movies, [len(rows)], on the scale.

        From the stored vector; or, where there are new ratings or no record, from one that is folded in.
        """
        vector, bias = self._theta(profile)
        manifest, places = self.side.manifest, np.array(rows, np.intp)
        raw = np.vecdot(self.side.item_vectors.take(places, axis=0), vector)
        raw += self.side.item_biases.take(places)
        # Numbers of Python from here: for the movies of one answer three calls of numpy take longer.
        base, low, high = manifest.mean + bias, manifest.rating_min, manifest.rating_max
        return [min(max(own + base, low), high) for own in raw.tolist()]

    def band(self, profile: UserState) -> ResidualInterval | None:
        """How far the user's ratings will lie from their predictions; None if that was not measured."""
        prediction_intervals = self.side.manifest.prediction_intervals
        if not prediction_intervals:
            return None
        known = int(np.count_nonzero(profile.ratings == profile.ratings))  # Not NaN.
        return next((band for band in reversed(prediction_intervals) if band.known <= known), None)

    def _theta(self, profile: UserState) -> tuple[NDArray[np.float32], float]:
        if profile.record is not None and not profile.freshly_rated:
            return profile.record.vector, profile.record.bias
        rated = ~np.isnan(profile.ratings)
        return self._fold_in.user(profile.items[rated], profile.ratings[rated])

    def _movies(
        self, profile: UserState, rows: list[int], scores: list[float], propensities: Sequence[float]
    ) -> list[ScoredMovie]:
        movie_ids = map(self.side.movie_ids.__getitem__, rows)
        return list(map(ScoredMovie, movie_ids, scores, self.ratings(profile, rows), propensities))


def _in(scores: NDArray[np.float32]) -> ScoresOf:
    """Of the scores of all movies those of some."""
    return lambda rows: scores[rows].tolist()


def _check_prior(side: ItemFactors) -> None:
    """No user could be folded in with a prior that is no Gaussian's."""
    try:
        np.linalg.cholesky(side.prior_precision.astype(np.float64))
    except np.linalg.LinAlgError as error:
        raise ArtifactRefused(
            f"prior_precision of {side.manifest.version} is not positive definite"
        ) from error
