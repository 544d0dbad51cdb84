"""Recommendations for every user, known or not, from the best tier that is available.

Only data of the one user is read per request: their record in the artifact, their recent history and their cohorts,
each within a deadline. Unavailable services are named in the notes of the answer.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias
from uuid import uuid4

import msgspec

from marquee.errors import NothingToRecommend
from marquee.registry.manifest import ResidualInterval
from marquee.registry.user_store import UserRecord
from marquee.serving.deadline import DeadlineExecutor, Unavailable
from marquee.serving.engine import Cohorts, Engine, ScoredMovie, Tier
from marquee.serving.exploration import NO_EXPLORATION, Exploration
from marquee.serving.release_cache import LoadedRelease, ReleaseCache
from marquee.serving.user_state import UserState, build_user_state

if TYPE_CHECKING:
    from marquee.db.user_history import History
    from marquee.events.batches import Impression
    from marquee.serving.popular_movies import PopularMovies

log = logging.getLogger(__name__)

# Notes of an answer.
OBJECT_STORE_UNAVAILABLE = "object-store-unavailable"
DATABASE_UNAVAILABLE = "database-unavailable"
RELEASE_REFUSED = "release-refused"
RECORD_DAMAGED = "user-record-damaged"
SCORING_FAILED = "scoring-failed"
CUSTOMERS_UNAVAILABLE = "customer-service-unavailable"

LIST_LENGTH = 20
"""Movies in an answer."""

_OVERLAP = timedelta(minutes=10)
"""Records of the event log may arrive after a model was trained through their time. Duplicates are ignored."""


HistoryReader: TypeAlias = "Callable[[str, datetime | None], History]"
"""Function that returns a user's history since a time (None: all of it). Raises :class:`Unavailable` on failure."""

CohortReader: TypeAlias = "Callable[[str], Cohorts]"
"""Function that returns a user's cohorts, empty for an unknown user. Raises :class:`Unavailable` on failure."""


class RatingInterval(msgspec.Struct, frozen=True):
    """Prediction interval that contains a rating with probability ``coverage``, clipped to the scale."""

    coverage: float
    residuals: ResidualInterval
    rating_min: float
    rating_max: float

    def around(self, prediction: float) -> tuple[float, float]:
        """Return the lower and the upper bound of the rating."""
        low, high = prediction + self.residuals.below, prediction + self.residuals.above
        return max(low, self.rating_min), min(high, self.rating_max)


class Answer(msgspec.Struct, frozen=True):
    """One list of movies, best first, with its provenance."""

    recommendation_id: str
    user_id: str
    time: datetime
    arm: str
    version: str
    release: int
    tier: Tier
    movies: tuple[ScoredMovie, ...]
    notes: tuple[str, ...] = ()
    explored: bool = False
    """True if the whole list was drawn uniformly."""
    interval: RatingInterval | None = None
    """Prediction interval of the ratings; None if it was not calibrated."""
    seconds: dict[str, float] = {}
    """Duration of each step."""

    def impression(self) -> Impression:
        """Return the impression to log."""
        from marquee.events.batches import (  # Needed only where impressions are sent.
            Impression,
            ImpressionMovie,
        )

        movies = tuple(ImpressionMovie(m.movie_id, m.score, m.rating, m.propensity) for m in self.movies)
        return Impression(
            self.recommendation_id,
            self.time,
            self.user_id,
            self.arm,
            self.version,
            self.release,
            self.tier,
            movies,
        )


class StepTimer:
    """Stopwatch of consecutive steps: each lasts from the end of the one before."""

    __slots__ = ("_last", "seconds")

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def end(self, step: str) -> None:
        """Record the end of a step; repeated steps add up."""
        now = time.perf_counter()
        self.seconds[step] = self.seconds.get(step, 0.0) + now - self._last
        self._last = now


class Recommender:
    """Recommender of movies from the current release, with fallbacks.

    ``history`` and ``popular`` are None without a database, ``cohorts`` without a customer service.

    The first requests wait ``wait_s`` for a model if popular movies can be shown instead, and ``cold_wait_s`` if there
    is nothing else to show.
    """

    def __init__(
        self,
        cache: ReleaseCache,
        *,
        objects: DeadlineExecutor,
        history: HistoryReader | None = None,
        popular: PopularMovies | None = None,
        cohorts: CohortReader | None = None,
        n: int = LIST_LENGTH,
        exploration: Exploration = NO_EXPLORATION,
        wait_s: float = 0.3,
        cold_wait_s: float = 10.0,
    ) -> None:
        self.cache = cache
        self._objects = objects
        self._history = history
        self._popular = popular
        self._cohorts = cohorts
        self._n = n
        self._exploration = exploration
        self._wait_s = wait_s
        self._cold_wait_s = cold_wait_s

    def answer(self, user_id: str, now: datetime) -> Answer:
        """Return a list for the user, known or not. Raises :class:`NothingToRecommend` if there is no list."""
        timer = StepTimer()
        loaded = self.cache.get(self._wait_s)
        timer.end("release")
        if loaded is not None:
            return self._answer_from_release(loaded, user_id, now, timer)
        movies, tier, notes = self._list_popular(user_id)
        timer.end("popular")
        if movies:
            return self._make_answer(user_id, now, None, tier, movies, notes, timer)
        loaded = self.cache.get(self._cold_wait_s)
        timer.end("release")
        if loaded is None:
            raise NothingToRecommend(self._explain_nothing())
        return self._answer_from_release(loaded, user_id, now, timer)

    def _answer_from_release(self, loaded: LoadedRelease, user_id: str, now: datetime, timer: StepTimer) -> Answer:
        arm = loaded.release.assign(user_id)
        engine = loaded.engines[arm.name]
        notes: list[str] = []
        explored, interval = False, None
        try:
            state = self._read_state(engine, user_id, notes, timer)
            cohorts = () if len(state.items) else self._read_cohorts(engine, user_id, notes, timer)
            tier, movies, explored = engine.explore(state, self._n, self._exploration, cohorts)
            interval = rating_interval(engine, state)
        except Exception:  # On any error a non-personalized list is better than none.
            log.exception("scoring failed for user %s with %s", user_id, engine.version)
            notes.append(SCORING_FAILED)
            tier, movies = Tier.LAST_RESORT, engine.list_popular(self._n)
        timer.end("rank")
        return self._make_answer(user_id, now, (loaded, arm.name), tier, movies, notes, timer, explored, interval)

    def _read_state(self, engine: Engine, user_id: str, notes: list[str], timer: StepTimer) -> UserState:
        record = self._read_record(engine, user_id, notes)
        if record is None and engine.is_damaged(user_id):
            notes.append(RECORD_DAMAGED)
        timer.end("record")
        since = engine.trained_through - _OVERLAP if record else None
        history = self._read_history(user_id, since, notes)
        timer.end("history")
        return build_user_state(engine.item_factors, record, history)

    def _read_record(self, engine: Engine, user_id: str, notes: list[str]) -> UserRecord | None:
        is_cached, record = engine.get_cached_record(user_id)
        if is_cached:
            return record
        try:
            if engine.maps_users:  # Reading mapped memory needs no deadline.
                return engine.read_record(user_id)
            return self._objects.run(lambda _: engine.read_record(user_id))
        except Unavailable:
            notes.append(OBJECT_STORE_UNAVAILABLE)
            return None

    def _read_history(self, user_id: str, since: datetime | None, notes: list[str]) -> History | None:
        if self._history is None:
            return None
        try:
            return self._history(user_id, since)
        except Unavailable:
            notes.append(DATABASE_UNAVAILABLE)
            return None

    def _read_cohorts(self, engine: Engine, user_id: str, notes: list[str], timer: StepTimer) -> Cohorts:
        if self._cohorts is None or not engine.item_factors.cohorts:
            return ()
        try:
            return self._cohorts(user_id)
        except Unavailable:
            notes.append(CUSTOMERS_UNAVAILABLE)
            return ()
        finally:
            timer.end("customer")

    def _list_popular(self, user_id: str) -> tuple[list[ScoredMovie], Tier, list[str]]:
        """Return the database's popular movies, for the time before the first release."""
        if self._popular is None:
            return [], Tier.POPULAR, []
        movies, fresh = self._popular.read()
        if not fresh:
            return movies[: self._n], Tier.LAST_RESORT, [DATABASE_UNAVAILABLE]
        notes: list[str] = []
        history = self._read_history(user_id, None, notes)
        seen: set[str] = set()
        if history is not None:
            seen = {r.movie_id for r in history.ratings} | {w.movie_id for w in history.watched}
        # A stable sort: unseen movies first, seen ones only to fill the list.
        return sorted(movies, key=lambda m: m.movie_id in seen)[: self._n], Tier.POPULAR, notes

    def _make_answer(
        self,
        user_id: str,
        now: datetime,
        source: tuple[LoadedRelease, str] | None,
        tier: Tier,
        movies: list[ScoredMovie],
        notes: list[str],
        timer: StepTimer,
        explored: bool = False,
        interval: RatingInterval | None = None,
    ) -> Answer:
        """Return the answer; ``source`` is the release and the name of its arm, or None without a release."""
        if self.cache.store_error:
            notes.append(OBJECT_STORE_UNAVAILABLE)
        if self.cache.release_refused:
            notes.append(RELEASE_REFUSED)
        loaded, arm = source or (None, "")
        return Answer(
            recommendation_id=str(uuid4()),
            user_id=user_id,
            time=now,
            arm=arm,
            version=loaded.engines[arm].version if loaded else "",
            release=loaded.release.number if loaded else 0,
            tier=tier,
            movies=tuple(movies),
            notes=tuple(dict.fromkeys(notes)),
            explored=explored,
            interval=interval,
            seconds=timer.seconds,
        )

    def _explain_nothing(self) -> str:
        if self.cache.store_error:
            return f"No release could be loaded, and there are no popular movies: {self.cache.store_error}"
        if self.cache.refusals:
            return f"The release was refused, and there is no other: {self.cache.refusals[-1].reason}"
        return "There is no release yet, and nothing has been watched so far: train a model with `marquee retrain`."


def rating_interval(engine: Engine, state: UserState) -> RatingInterval | None:
    """Return the prediction interval of the user's ratings; None if it was not calibrated."""
    residuals, manifest = engine.residual_interval(state), engine.item_factors.manifest
    if residuals is None:
        return None
    return RatingInterval(manifest.coverage, residuals, manifest.rating_min, manifest.rating_max)
