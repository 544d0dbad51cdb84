"""What was predicted of a rating before it came in, and by which model.

A list that was served before the rating says so itself. Else the prediction is the one an answer would have
carried a moment before: by the version that served this user then, with what he had rated by then, and never
by a model that has learnt from that moment or a later one. (A release is taken to serve from its publication
on; instances follow within ``release_refresh_s``.)
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from marquee.db.user_history import History, RatedMovie
from marquee.errors import ArtifactRefused
from marquee.registry.arm_assignment import assign_arm
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import Release
from marquee.registry.release_history import ReleaseHistory
from marquee.serving.engine import Engine
from marquee.serving.recommender import rating_interval
from marquee.serving.user_state import UserState, build_user_state

ENGINES_KEPT = 4
READERS = 8
"""Threads that read users' records: each costs two ways to the object store, and nothing else."""

IMPRESSION, COMPUTED = "impression", "computed"
NO_RELEASE, NO_MODEL, UNKNOWN_MOVIE = "no release yet", "no model that was trained before", "unknown movie"
RATED_BEFORE = "the user had rated the movie before"


@dataclass(frozen=True, slots=True)
class LiveRating:
    """One rating that came in; the first four name it."""

    time: datetime
    topic_key: int
    partition: int
    offset: int
    user_id: str
    movie_id: str
    rating: int


@dataclass(frozen=True, slots=True)
class ShownPrediction:
    """The newest list before the rating that showed the user the movie, with its prediction."""

    id: str
    time: datetime
    arm: str
    version: str
    release: int
    tier: str
    rating: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """``predicted`` is None where nothing could be predicted; ``reason`` says why. ``low`` to ``high`` should hold
    the rating with probability ``coverage``; None where that was not measured.
    """

    arm: str = ""
    version: str = ""
    release: int = 0
    tier: str = ""
    source: str = ""
    impression: str | None = None
    predicted: float | None = None
    low: float | None = None
    high: float | None = None
    coverage: float | None = None
    reason: str = ""


class Predictor:
    """Predicts by the releases and artifacts of ``store``. Not to be shared between threads."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._timeline = ReleaseHistory(store)
        self._engines: OrderedDict[str, Engine | None] = OrderedDict()

    @property
    def first_release(self) -> datetime | None:
        """When the first release was published; None before that."""
        return self._timeline.first

    def refresh(self) -> None:
        """Take in the releases that were published since; raises the store's errors."""
        self._timeline.refresh()

    def warm(self, page: Iterable[LiveRating]) -> None:
        """Read the records of the page's users by the models that served them, several at a time."""
        wanted = {
            (engine, rated.user_id) for rated in page if (engine := self._serving(rated)[0]) is not None
        }
        missing = [
            (engine, user_id) for engine, user_id in wanted if not engine.get_cached_record(user_id)[0]
        ]
        if missing:
            with ThreadPoolExecutor(READERS) as readers:
                list(readers.map(lambda pair: pair[0].read_record(pair[1]), missing))

    def predict(
        self, rated: LiveRating, earlier: Sequence[RatedMovie], shown: ShownPrediction | None
    ) -> Prediction:
        """``earlier``: what the user rated, newest first; what is not older than the moment of the prediction is
        left out of it.
        """
        if any(movie.movie_id == rated.movie_id and movie.time < rated.time for movie in earlier):
            return Prediction(reason=RATED_BEFORE)  # The answer was known, perhaps learnt from.
        if shown is not None:
            engine = self._engine(shown.version)
            if engine is None or engine.trained_through < rated.time:
                return _as_shown(shown, engine, rated.user_id, earlier)
        return self._computed(rated, earlier)

    def _computed(self, rated: LiveRating, earlier: Sequence[RatedMovie]) -> Prediction:
        engine, release, arm = self._serving(rated)
        if release is None:
            return Prediction(reason=NO_RELEASE)
        if engine is None or engine.trained_through >= rated.time:
            return Prediction(reason=NO_MODEL)
        item = engine.item_factors.items.get(rated.movie_id)
        if item is None:
            return Prediction(arm=arm, version=engine.version, release=release.number, reason=UNKNOWN_MOVIE)
        profile = _profile(engine, rated.user_id, earlier, rated.time)
        if not np.isnan(profile.ratings[profile.items == item]).all():
            return Prediction(arm=arm, version=engine.version, release=release.number, reason=RATED_BEFORE)
        predicted = engine.predict(profile, np.array([item]))[0]
        low, high, coverage = _interval(engine, profile, predicted)
        return Prediction(
            arm=arm,
            version=engine.version,
            release=release.number,
            source=COMPUTED,
            predicted=predicted,
            low=low,
            high=high,
            coverage=coverage,
        )

    def _serving(self, rated: LiveRating) -> tuple[Engine | None, Release | None, str]:
        """What served the user then. A release whose artifact was refused never did: the one before did."""
        releases = self._timeline.at(rated.time)
        for release in releases:
            arm = assign_arm(release.arms, release.salt, rated.user_id)
            engine = self._engine(arm.version)
            if engine is not None:
                return engine, release, arm.name
        return None, releases[0] if releases else None, ""

    def _engine(self, version: str) -> Engine | None:
        """The version's engine, or None if it must not serve."""
        if version not in self._engines:
            try:
                self._engines[version] = Engine.load(self._store, version)
            except ArtifactRefused:
                self._engines[version] = None
            if len(self._engines) > ENGINES_KEPT:
                self._engines.popitem(last=False)
        self._engines.move_to_end(version)
        return self._engines[version]


def _as_shown(
    shown: ShownPrediction, engine: Engine | None, user_id: str, earlier: Sequence[RatedMovie]
) -> Prediction:
    """The prediction that the list carried, within the interval that it had then."""
    low = high = coverage = None
    if engine is not None:
        profile = _profile(engine, user_id, earlier, shown.time)
        low, high, coverage = _interval(engine, profile, shown.rating)
    return Prediction(
        arm=shown.arm,
        version=shown.version,
        release=shown.release,
        tier=shown.tier,
        source=IMPRESSION,
        impression=shown.id,
        predicted=shown.rating,
        low=low,
        high=high,
        coverage=coverage,
    )


def _profile(engine: Engine, user_id: str, earlier: Sequence[RatedMovie], time: datetime) -> UserState:
    """The user as the model saw him at ``time``."""
    found, record = engine.get_cached_record(user_id)
    if not found:
        record = engine.read_record(user_id)
    return build_user_state(
        engine.item_factors, record, History(tuple(movie for movie in earlier if movie.time < time), ())
    )


def _interval(
    engine: Engine, profile: UserState, predicted: float
) -> tuple[float | None, float | None, float | None]:
    interval = rating_interval(engine, profile)
    if interval is None:
        return None, None, None
    return *interval.around(predicted), interval.coverage
