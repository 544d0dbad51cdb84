"""An answer for every user: personalised, folded in, popular or last resort, the first that can be.

Nothing is asked of the world but what concerns the one user: his row of the artifact and his fresh
history, each within a deadline. What could not be had is named in the answer's notes.
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
from marquee.registry.release import assign_arm
from marquee.registry.user_store import UserRecord
from marquee.serving import exploration
from marquee.serving.deadline import DeadlineExecutor, Unavailable
from marquee.serving.engine import Cohorts, Engine, ScoredMovie, Tier
from marquee.serving.exploration import Exploration
from marquee.serving.release_cache import LoadedRelease, ReleaseCache
from marquee.serving.user_state import UserState, build_user_state

if TYPE_CHECKING:
    from marquee.db.user_history import History
    from marquee.events.batches import Impression
    from marquee.serving.popular_movies import PopularMovies

log = logging.getLogger(__name__)

STORE_AWAY = "object-store-unavailable"
DATABASE_AWAY = "database-unavailable"
RELEASE_REFUSED = "release-refused"
SCORING_FAILED = "scoring-failed"
CUSTOMERS_AWAY = "customer-service-unavailable"

LIST_LENGTH = 20
"""Movies in an answer."""

_OVERLAP = timedelta(minutes=10)
"""Lines may come in after a model was trained through their time. What it knows is not counted twice."""


HistoryOf: TypeAlias = "Callable[[str, datetime | None], History]"
"""What a user did from a moment on (None: ever); raises :class:`Unavailable`."""

CohortsOf: TypeAlias = "Callable[[str], Cohorts]"
"""The cohorts of a user, none if nobody knows him; raises :class:`Unavailable`."""


class RatingInterval(msgspec.Struct, frozen=True):
    """The interval about a prediction that holds the rating with probability ``coverage``, on the scale."""

    coverage: float
    band: ResidualInterval
    rating_min: float
    rating_max: float

    def about(self, rating: float) -> tuple[float, float]:
        """From where to where a rating will lie that is predicted as ``rating``."""
        low, high = rating + self.band.below, rating + self.band.above
        return max(low, self.rating_min), min(high, self.rating_max)


class Answer(msgspec.Struct, frozen=True):
    """One list, best movie first, and how it came about."""

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
    """Whether the whole list was drawn at random."""
    likely: RatingInterval | None = None
    """Where the ratings will most likely lie."""
    seconds: dict[str, float] = {}
    """How long each step took."""

    def impression(self) -> Impression:
        """What is remembered of it."""
        from marquee.events.batches import Impression, ImpressionMovie  # Only where impressions are kept.

        movies = tuple(ImpressionMovie(f.movie_id, f.score, f.rating, f.propensity) for f in self.movies)
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


class Steps:
    """A stopwatch: each step lasts from the end of the one before."""

    __slots__ = ("_last", "seconds")

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def done(self, step: str) -> None:
        """The step is over; a step that comes again adds to its time."""
        now = time.perf_counter()
        self.seconds[step] = self.seconds.get(step, 0.0) + now - self._last
        self._last = now


class Recommender:
    """Answers. ``history`` and ``popular`` are None where there is no database, ``cohorts``
    where there is no customer service.

    ``policy``: what is left to chance.

    ``wait_s``: how long the first answers wait for a model while something else could be answered;
    ``cold_wait_s``: how long where nothing else could.
    """

    def __init__(
        self,
        cache: ReleaseCache,
        *,
        objects: DeadlineExecutor,
        history: HistoryOf | None = None,
        popular: PopularMovies | None = None,
        cohorts: CohortsOf | None = None,
        n: int = LIST_LENGTH,
        policy: Exploration = exploration.NONE,
        wait_s: float = 0.3,
        cold_wait_s: float = 10.0,
    ) -> None:
        self.cache = cache
        self._objects = objects
        self._history = history
        self._popular = popular
        self._cohorts_of = cohorts
        self._n = n
        self._policy = policy
        self._wait_s = wait_s
        self._cold_wait_s = cold_wait_s

    def answer(self, user_id: str, now: datetime) -> Answer:
        """A list for the user, known or not; raises :class:`NothingToRecommend`."""
        steps = Steps()
        serving = self.cache.serving(self._wait_s)
        steps.done("release")
        if serving is not None:
            return self._with_release(serving, user_id, now, steps)
        movies, tier, notes = self._without_release(user_id)
        steps.done("popular")
        if movies:
            return self._answered(user_id, now, None, tier, movies, notes, steps)
        serving = self.cache.serving(self._cold_wait_s)
        steps.done("release")
        if serving is None:
            raise NothingToRecommend(self._nothing())
        return self._with_release(serving, user_id, now, steps)

    def _with_release(self, serving: LoadedRelease, user_id: str, now: datetime, steps: Steps) -> Answer:
        arm = assign_arm(serving.release, user_id)
        engine = serving.engines[arm.name]
        notes: list[str] = []
        explored, interval = False, None
        try:
            profile = self._profile(engine, user_id, notes, steps)
            cohorts = () if len(profile.items) else self._cohorts(engine, user_id, notes, steps)
            tier, movies, explored = engine.explore(profile, self._n, self._policy, cohorts)
            interval = rating_interval(engine, profile)
        except Exception:  # Whatever it is, a list for nobody in particular is better than none.
            log.exception("scoring failed for user %s with %s", user_id, engine.version)
            notes.append(SCORING_FAILED)
            tier, movies = Tier.LAST_RESORT, engine.popular(self._n)
        steps.done("rank")
        return self._answered(
            user_id, now, (serving, arm.name), tier, movies, notes, steps, explored, interval
        )

    def _profile(self, engine: Engine, user_id: str, notes: list[str], steps: Steps) -> UserState:
        record = self._record(engine, user_id, notes)
        steps.done("record")
        since = engine.trained_through - _OVERLAP if record else None
        history = self._fresh(user_id, since, notes)
        steps.done("history")
        return build_user_state(engine.side, record, history)

    def _record(self, engine: Engine, user_id: str, notes: list[str]) -> UserRecord | None:
        found, record = engine.known_record(user_id)
        if found:
            return record
        try:
            if engine.maps_users:  # Reading memory needs no deadline.
                return engine.read_record(user_id)
            return self._objects.ask(lambda _: engine.read_record(user_id))
        except Unavailable:
            notes.append(STORE_AWAY)
            return None

    def _fresh(self, user_id: str, since: datetime | None, notes: list[str]) -> History | None:
        if self._history is None:
            return None
        try:
            return self._history(user_id, since)
        except Unavailable:
            notes.append(DATABASE_AWAY)
            return None

    def _cohorts(self, engine: Engine, user_id: str, notes: list[str], steps: Steps) -> Cohorts:
        if self._cohorts_of is None or not engine.side.cohorts:
            return ()
        try:
            return self._cohorts_of(user_id)
        except Unavailable:
            notes.append(CUSTOMERS_AWAY)
            return ()
        finally:
            steps.done("customer")

    def _without_release(self, user_id: str) -> tuple[list[ScoredMovie], Tier, list[str]]:
        if self._popular is None:
            return [], Tier.POPULAR, []
        movies, fresh = self._popular.movies()
        if not fresh:
            return movies[: self._n], Tier.LAST_RESORT, [DATABASE_AWAY]
        notes: list[str] = []
        history = self._fresh(user_id, None, notes)
        seen: set[str] = set()
        if history is not None:
            seen = {r.movie_id for r in history.ratings} | {w.movie_id for w in history.watched}
        # Sorted by whether they were seen; the order stays otherwise, and the list full.
        return sorted(movies, key=lambda f: f.movie_id in seen)[: self._n], Tier.POPULAR, notes

    def _answered(
        self,
        user_id: str,
        now: datetime,
        by: tuple[LoadedRelease, str] | None,
        tier: Tier,
        movies: list[ScoredMovie],
        notes: list[str],
        steps: Steps,
        explored: bool = False,
        likely: RatingInterval | None = None,
    ) -> Answer:
        if self.cache.store_away:
            notes.append(STORE_AWAY)
        if self.cache.release_refused:
            notes.append(RELEASE_REFUSED)
        serving, arm = by or (None, "")
        return Answer(
            recommendation_id=str(uuid4()),
            user_id=user_id,
            time=now,
            arm=arm,
            version=serving.engines[arm].version if serving else "",
            release=serving.release.number if serving else 0,
            tier=tier,
            movies=tuple(movies),
            notes=tuple(dict.fromkeys(notes)),
            explored=explored,
            likely=likely,
            seconds=steps.seconds,
        )

    def _nothing(self) -> str:
        if self.cache.store_away:
            return f"No release could be loaded, and there are no popular movies: {self.cache.store_away}"
        if self.cache.refusals:
            return f"The release was refused, and nothing else serves: {self.cache.refusals[-1].reason}"
        return (
            "There is no release yet, and nothing was watched so far: train a model with `marquee retrain`."
        )


def rating_interval(engine: Engine, profile: UserState) -> RatingInterval | None:
    """Where the user's ratings will lie about their predictions; None if that was not measured."""
    band, manifest = engine.band(profile), engine.side.manifest
    return RatingInterval(manifest.interval, band, manifest.rating_min, manifest.rating_max) if band else None
