"""Live accuracy: each rating that comes in, against what the model that served then would have said.

The prediction is the one an answer would have carried a moment before the rating: by the version that
served this user then, with what he had rated by then, and never by a model that has learnt from that
moment or a later one. (A release is taken to serve from its publication on; instances follow within
``release_refresh_s``.)
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from marquee.artifacts.object_store import ObjectStore
from marquee.artifacts.release import assign
from marquee.errors import ArtifactRefused
from marquee.evaluation.running import Accuracy, RunningErrors
from marquee.evaluation.timeline import ReleaseTimeline
from marquee.recommend.engine import Engine
from marquee.recommend.profile import profile_of
from marquee.telemetry.database import Database
from marquee.telemetry.history import History, RatedFilm

ENGINES_KEPT = 4
PAGE = 500
EARLIER_RATINGS = 50_000
"""The most ratings that are read to make the users' profiles of one page; the newest come first."""

NO_RELEASE, NO_MODEL, UNKNOWN_FILM = "no release yet", "no model that was trained before", "unknown film"
RATED_BEFORE = "the user had rated the film before"
_FIRST = (datetime.min.replace(tzinfo=UTC), -1, -1, -1)

_PAGE = """
SELECT time, stream, partition, "offset", user_id, movie_id, rating FROM ratings
WHERE (time, stream, partition, "offset") > (%s, %s, %s, %s) AND time >= %s AND time < %s
ORDER BY time, stream, partition, "offset" LIMIT %s"""

_EARLIER = """
SELECT user_id, movie_id, rating, time FROM ratings WHERE user_id = ANY(%s) AND time < %s
ORDER BY time DESC, stream DESC, partition DESC, "offset" DESC LIMIT %s"""


@dataclass(frozen=True, slots=True)
class _Rated:
    """One rating that came in."""

    time: datetime
    user_id: str
    movie_id: str
    rating: int


class LiveAccuracy:
    """Follows the ratings in the order of their times, a page at a call.

    ``settle_s``: a rating is taken up that long after its time, since lines come in a little out of order;
    one that comes in later than that is not counted. ``since``: earlier ratings are passed over.
    Not to be shared between threads.
    """

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        *,
        since: datetime | None = None,
        settle_s: float = 2.0,
        page: int = PAGE,
        deadline_ms: int = 10_000,
    ) -> None:
        self._database = database
        self._store = store
        self._timeline = ReleaseTimeline(store)
        self._since = since or _FIRST[0]
        self._settle = timedelta(seconds=settle_s)
        self._page = page
        self._deadline_ms = deadline_ms
        self._cursor: tuple[datetime, int, int, int] = _FIRST
        self._engines: OrderedDict[str, Engine | None] = OrderedDict()
        self._overall = RunningErrors()
        self._by_version: defaultdict[str, RunningErrors] = defaultdict(RunningErrors)
        self.passed_over: Counter[str] = Counter()
        """Ratings that nothing could be predicted for, by the reason."""

    def update(self, now: datetime) -> int:
        """Take up the next page of ratings, and return how many those were; fewer than a page: up to date.

        Raises the database's and the store's errors; nothing is counted twice after that.
        """
        self._timeline.refresh()
        rows = self._database.read(
            _PAGE,
            (*self._cursor, self._since, now - self._settle, self._page),
            deadline_ms=self._deadline_ms,
        )
        if not rows:
            return 0
        page = [_Rated(row[0], *row[4:]) for row in rows]
        earlier = self._earlier(page)
        errors = [(rated, self._error(rated, earlier[rated.user_id])) for rated in page]
        for rated, found in errors:
            self._count(rated, found)
        time, stream, partition, offset = rows[-1][:4]
        self._cursor = (time, stream, partition, offset)
        return len(rows)

    @property
    def overall(self) -> Accuracy | None:
        """Over all ratings so far; None before the first."""
        return self._overall.accuracy()

    @property
    def by_version(self) -> dict[str, Accuracy]:
        """The same for each model version that served, in the order of their first ratings."""
        found = {version: errors.accuracy() for version, errors in self._by_version.items()}
        return {version: accuracy for version, accuracy in found.items() if accuracy}

    def _earlier(self, page: list[_Rated]) -> defaultdict[str, list[RatedFilm]]:
        """What the page's users rated before the end of the page, newest first."""
        users = list({rated.user_id for rated in page})
        until = page[-1].time
        found: defaultdict[str, list[RatedFilm]] = defaultdict(list)
        for user_id, movie_id, rating, time in self._database.read(
            _EARLIER, (users, until, EARLIER_RATINGS), deadline_ms=self._deadline_ms
        ):
            found[user_id].append(RatedFilm(movie_id, rating, time))
        return found

    def _error(self, rated: _Rated, earlier: list[RatedFilm]) -> tuple[str, float] | str:
        """The version and its error, or why there is none."""
        releases = self._timeline.at(rated.time)
        if not releases:
            return NO_RELEASE
        # A release whose artifact was refused never served: the one before did.
        versions = (assign(release, rated.user_id).version for release in releases)
        engine = next(filter(None, map(self._engine, versions)), None)
        if engine is None or engine.trained_through >= rated.time:
            return NO_MODEL
        item = engine.side.items.get(rated.movie_id)
        if item is None:
            return UNKNOWN_FILM
        known = tuple(film for film in earlier if film.time < rated.time)
        if any(film.movie_id == rated.movie_id for film in known):
            return RATED_BEFORE  # The answer was known, perhaps learnt from: nothing was predicted.
        profile = profile_of(engine.side, engine.read_record(rated.user_id), History(known, ()))
        return engine.version, engine.ratings(profile, np.array([item]))[0] - rated.rating

    def _count(self, rated: _Rated, found: tuple[str, float] | str) -> None:
        if isinstance(found, str):
            self.passed_over[found] += 1
            return
        version, error = found
        self._overall.add(rated.user_id, error)
        self._by_version[version].add(rated.user_id, error)

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
