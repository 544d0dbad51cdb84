"""Prequential predictions (Dawid, 1984) of ratings: the prediction before each rating, and the model that made it.

If a list with the movie was served before the rating, the prediction of that list counts. Otherwise the prediction is
the one that would have been served at that time, by the version that served this user, from the user's earlier
ratings. A model trained on that time or later is never used. A release counts as serving from its publication;
instances pick it up within ``release_refresh_s``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from marquee.db.user_history import History, RatedMovie, WatchedMovie
from marquee.errors import ArtifactRefused
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import Release
from marquee.registry.release_history import ReleaseHistory
from marquee.serving.answer import rating_interval
from marquee.serving.engine import Engine
from marquee.serving.user_state import UserState, build_user_state

CACHED_ENGINES = 4
READ_THREADS = 8
"""Number of threads that read user records. A read is two round trips to the object store with little computation."""

IMPRESSION, COMPUTED = "impression", "computed"
NO_RELEASE, NO_MODEL, UNKNOWN_MOVIE = "no release yet", "no model that was trained before", "unknown movie"
RATED_BEFORE = "the user had rated the movie before"


@dataclass(frozen=True, slots=True)
class LiveRating:
    """Rating to evaluate. The first four fields identify it."""

    time: datetime
    topic_key: int
    partition: int
    offset: int
    user_id: str
    movie_id: str
    rating: int


@dataclass(frozen=True, slots=True)
class ShownPrediction:
    """Newest impression before the rating in which the user saw the movie, with its predicted ``rating``."""

    id: str
    time: datetime
    arm: str
    version: str
    release: int
    tier: str
    rating: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Prediction of a rating. ``predicted`` is None if there is none, for the ``reason``.

    The interval from ``low`` to ``high`` has the nominal coverage ``coverage``. All three are None if the artifact has
    no prediction intervals.
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
    """Predictor based on the releases and artifacts of ``store``. Not safe to share between threads."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._history = ReleaseHistory(store)
        self._engines: OrderedDict[str, Engine | None] = OrderedDict()

    @property
    def history(self) -> ReleaseHistory:
        """Return the releases, as of the last :meth:`refresh`."""
        return self._history

    def refresh(self) -> None:
        """Read the releases published since the last call. Raises the errors of the object store."""
        self._history.refresh()

    def warm(self, page: Iterable[LiveRating]) -> None:
        """Read the user records of the models that served the page's users, in parallel."""
        pairs = {(engine, event.user_id) for event in page if (engine := self._find_serving(event)[0]) is not None}
        missing = [(engine, user_id) for engine, user_id in pairs if not engine.get_cached_record(user_id)[0]]
        if missing:
            with ThreadPoolExecutor(READ_THREADS) as readers:
                list(readers.map(lambda pair: pair[0].read_record(pair[1]), missing))

    def predict(self, event: LiveRating, earlier: Sequence[RatedMovie], shown: ShownPrediction | None) -> Prediction:
        """Return the prediction for ``event`` as of the moment before it, or that of the impression ``shown``.

        ``earlier`` are ratings of the user, newest first. Those that are not earlier than the prediction are ignored.
        """
        if any(movie.movie_id == event.movie_id and movie.time < event.time for movie in earlier):
            return Prediction(reason=RATED_BEFORE)  # The rating was known, and perhaps trained on.
        if shown is not None and self._is_of_one_experiment(shown, event.time):
            engine = self.load_engine(shown.version)
            if engine is None or engine.trained_through < event.time:
                return _from_impression(shown, engine, event.user_id, earlier)
        return self._compute(event, earlier)

    def _is_of_one_experiment(self, shown: ShownPrediction, time: datetime) -> bool:
        """Return whether the impression is of the experiment that runs at ``time``, or of none while none runs.

        The arm of an earlier experiment must not appear among the arms of this one, whose names may be the same.
        """
        releases = self._history.at(time)
        of_shown = next((release.experiment for release in releases if release.number == shown.release), None)
        return of_shown is None or of_shown == releases[0].experiment

    def _compute(self, event: LiveRating, earlier: Sequence[RatedMovie]) -> Prediction:
        engine, release, arm = self._find_serving(event)
        if release is None:
            return Prediction(reason=NO_RELEASE)
        if engine is None or engine.trained_through >= event.time:
            return Prediction(reason=NO_MODEL)
        item = engine.item_factors.items.get(event.movie_id)
        if item is None:
            return Prediction(arm=arm, version=engine.version, release=release.number, reason=UNKNOWN_MOVIE)
        state = build_state_before(engine, event.user_id, event.time, earlier)
        if not np.isnan(state.ratings[state.items == item]).all():
            return Prediction(arm=arm, version=engine.version, release=release.number, reason=RATED_BEFORE)
        predicted = engine.predict(state, np.array([item]))[0]
        low, high, coverage = _interval(engine, state, predicted)
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

    def _find_serving(self, event: LiveRating) -> tuple[Engine | None, Release | None, str]:
        """Return engine and release that served the user at that time, or the reason why there are none.

        If an artifact is refused, the previous release served.
        """
        releases = self._history.at(event.time)
        for release in releases:
            arm = release.assign(event.user_id)
            engine = self.load_engine(arm.version)
            if engine is not None:
                return engine, release, arm.name
        return None, releases[0] if releases else None, ""

    def load_engine(self, version: str) -> Engine | None:
        """Return the engine of a version, or None if its artifact is refused. Raises the store's errors."""
        if version not in self._engines:
            try:
                self._engines[version] = Engine.load(self._store, version)
            except ArtifactRefused:
                self._engines[version] = None
            if len(self._engines) > CACHED_ENGINES:
                self._engines.popitem(last=False)
        self._engines.move_to_end(version)
        return self._engines[version]


def _from_impression(
    shown: ShownPrediction, engine: Engine | None, user_id: str, earlier: Sequence[RatedMovie]
) -> Prediction:
    """Return the prediction of an impression, with the prediction interval at the time of the impression."""
    low = high = coverage = None
    if engine is not None:
        state = build_state_before(engine, user_id, shown.time, earlier)
        low, high, coverage = _interval(engine, state, shown.rating)
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


def build_state_before(
    engine: Engine,
    user_id: str,
    time: datetime,
    ratings: Sequence[RatedMovie],
    watched: Sequence[WatchedMovie] = (),
) -> UserState:
    """Return the user state that the model had at ``time``: later ones of ``ratings`` and ``watched`` are ignored."""
    rated_before = tuple(movie for movie in ratings if movie.time < time)
    watched_before = tuple(movie for movie in watched if movie.time < time)
    return build_user_state(engine.item_factors, engine.find_record(user_id), History(rated_before, watched_before))


def _interval(engine: Engine, state: UserState, predicted: float) -> tuple[float | None, float | None, float | None]:
    interval = rating_interval(engine, state)
    if interval is None:
        return None, None, None
    return *interval.around(predicted), interval.coverage
