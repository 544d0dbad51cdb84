"""Whether the world is still the one that the serving model has learnt from: drift, movies, the model's age."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
import numpy as np
from numpy.typing import NDArray

from marquee.db.pool import Database
from marquee.monitoring.check_result import Check, Verdict, check_at_most
from marquee.monitoring.drift import (
    ACTIVITY_FROM,
    CHANGED,
    STRONGLY,
    DataProfile,
    expected_index,
    quintile_fractions,
    stability_index,
    wasserstein,
)
from marquee.registry.item_factors import ItemFactors

CURRENT_WINDOW = timedelta(days=1)
"""The world of today: what happened so long."""
REFERENCE_WINDOW = timedelta(days=3)
"""What the model learnt last: so long before the newest event that it knows."""
ENOUGH = 1_000
"""Ratings, users or movies seen: with fewer an index says more of chance than of the world."""
MOVIE_BINS = 10
OLD_H, TOO_OLD_H = 36.0, 72.0
"""A model is made each night: it may be late once, but not twice."""
DEADLINE_MS = 60_000

_RATINGS = "SELECT rating, count(*)::int FROM ratings WHERE time > %s AND time <= %s GROUP BY rating"

_ACTIVITY = """
SELECT width_bucket(n, %s::bigint[]) AS bin, count(*)::int
FROM (SELECT count(*) AS n FROM ratings WHERE time > %s AND time <= %s
      GROUP BY user_id, date_bin('1 day', time, %s)) AS user_days
GROUP BY 1"""

_MOVIES = """
SELECT movie_id, count(*)::int
FROM (SELECT movie_id FROM ratings WHERE time > %(since)s AND time <= %(until)s
      UNION ALL
      SELECT movie_id FROM watch_sessions WHERE started > %(since)s AND started <= %(until)s) AS movies
GROUP BY movie_id"""

_UNLEARNT = "SELECT min(time) FROM ratings WHERE time > %s AND time <= %s"


@dataclass(frozen=True, slots=True)
class _Reference:
    """What the world was like when the model was made. Counts; ``ratings`` by fifths of the scale."""

    ratings: tuple[int, ...]
    activity: tuple[int, ...]


class DriftMonitor:
    """Compares today with what the model of ``side`` has learnt from. Not to be shared between threads.

    The reference is the newest days of the stream that went into the model, since they are what the next days
    should be like; where those are few, the whole snapshot's profile in the manifest.
    """

    def __init__(self) -> None:
        self._then: OrderedDict[str, _Reference] = OrderedDict()

    def check(self, database: Database, side: ItemFactors, now: datetime) -> list[Check]:
        """All checks, as of ``now``."""
        then, since = self._of(database, side), now - CURRENT_WINDOW
        movies = _movies(database, since, now)
        ratings, activity = _ratings(database, side, since, now), _activity(database, since, now)
        return [
            *_rating_drift(side, then.ratings, ratings),
            _index("drift.activity_psi", then.activity, activity, "users on days"),
            *_movie_drift(side, movies),
            _age(database, side, now),
        ]

    def _of(self, database: Database, side: ItemFactors) -> _Reference:
        version, until = side.manifest.version, side.manifest.trained_through
        if version not in self._then:
            since = until - REFERENCE_WINDOW
            found = _Reference(_ratings(database, side, since, until), _activity(database, since, until))
            self._then = OrderedDict({version: found})
        return self._then[version]


def _ratings(database: Database, side: ItemFactors, since: datetime, until: datetime) -> tuple[int, ...]:
    counted = database.read(_RATINGS, (since, until), deadline_ms=DEADLINE_MS)
    return quintile_fractions(counted, side.manifest.rating_min, side.manifest.rating_max)


def _activity(database: Database, since: datetime, until: datetime) -> tuple[int, ...]:
    """Days end with ``until``, so that the newest is a whole one."""
    parameters = (list(ACTIVITY_FROM), since, until, until)
    counts: dict[int, int] = dict(database.read(_ACTIVITY, parameters, deadline_ms=DEADLINE_MS))
    return tuple(counts.get(bin_, 0) for bin_ in range(1, len(ACTIVITY_FROM) + 1))


def _movies(database: Database, since: datetime, until: datetime) -> dict[str, int]:
    parameters = {"since": since, "until": until}
    return dict(database.read(_MOVIES, parameters, deadline_ms=DEADLINE_MS))


def _rating_drift(side: ItemFactors, then: Sequence[int], now: Sequence[int]) -> list[Check]:
    before, n_before = _fractions(then), sum(then)
    if n_before < ENOUGH and side.manifest.provenance.profile:
        profile = msgspec.convert(side.manifest.provenance.profile, DataProfile)
        before, n_before = profile.fractions, profile.ratings
    index = _index_of_fractions("drift.rating_psi", before, n_before, now, "ratings")
    if index.value is None:
        return [index, Check("drift.rating_wasserstein", None, "fraction of the scale", detail=index.detail)]
    moved = wasserstein(before, _fractions(now))
    detail = "how far the ratings have moved, in parts of the scale"
    far = check_at_most(
        "drift.rating_wasserstein", moved, "fraction of the scale", usual=0.05, bad=0.1, detail=detail
    )
    return [index, far]


def _movie_drift(side: ItemFactors, movies: dict[str, int]) -> list[Check]:
    """Movies in tenths of the popularity that they had when the model was made, most popular first."""
    seen, name = sum(movies.values()), "movies.unknown_rate"
    if seen < ENOUGH:
        detail = _too_few(seen, "movies rated or begun")
        return [
            Check(name, None, "fraction", detail=detail),
            Check("drift.movie_psi", None, "PSI", detail=detail),
        ]
    known = {side.items[movie]: count for movie, count in movies.items() if movie in side.items}
    unknown = 1 - sum(known.values()) / seen
    tenths, expected = _tenths(side.popularity)
    now = np.zeros(MOVIE_BINS, int)
    np.add.at(now, tenths[list(known)], list(known.values()))
    # What the model knows of the movies is known well: its own sampling adds nothing.
    return [
        check_at_most(
            name, unknown, "fraction", usual=0.02, bad=0.1, detail=f"of {seen:,} movies rated or begun"
        ),
        _index_of_fractions("drift.movie_psi", expected, 10**9, now.tolist(), "movies rated or begun"),
    ]


def _tenths(popularity: NDArray[np.floating]) -> tuple[NDArray[np.int64], tuple[float, ...]]:
    """The tenth of each movie, [n_items], and how much popularity is in each tenth."""
    order = np.argsort(-popularity, kind="stable")
    fraction = popularity[order].astype(float) / popularity.sum(dtype=float)
    before = np.cumsum(fraction) - fraction
    tenths = np.empty(len(popularity), int)
    tenths[order] = np.minimum((before * MOVIE_BINS).astype(int), MOVIE_BINS - 1)
    return tenths, tuple(np.bincount(tenths[order], fraction, MOVIE_BINS).tolist())


def _age(database: Database, side: ItemFactors, now: datetime) -> Check:
    """How long the oldest rating that the model has not learnt from has been there."""
    ((oldest,),) = database.read(_UNLEARNT, (side.manifest.trained_through, now), deadline_ms=DEADLINE_MS)
    hours = (now - oldest) / timedelta(hours=1) if oldest else 0.0
    detail = f"{side.manifest.version} has learnt through {side.manifest.trained_through:%Y-%m-%d %H:%M} UTC"
    return check_at_most("model.age_h", hours, "h", usual=OLD_H, bad=TOO_OLD_H, detail=detail)


def _index(name: str, then: Sequence[int], now: Sequence[int], what: str) -> Check:
    return _index_of_fractions(name, _fractions(then), sum(then), now, what)


def _index_of_fractions(
    name: str, before: Sequence[float], n_before: int, now: Sequence[int], what: str
) -> Check:
    """The limits are raised by what chance alone makes of samples of this size."""
    n = sum(now)
    if min(n_before, n) < ENOUGH:
        return Check(name, None, "PSI", Verdict.GOOD, detail=_too_few(min(n_before, n), what))
    chance = expected_index(len(now), n_before, n)
    index = stability_index(before, _fractions(now))
    detail = f"{n:,} {what} of the last day"
    return check_at_most(name, index, "PSI", usual=CHANGED + chance, bad=STRONGLY + chance, detail=detail)


def _fractions(counts: Sequence[int]) -> tuple[float, ...]:
    total = sum(counts) or 1
    return tuple(count / total for count in counts)


def _too_few(n: int, what: str) -> str:
    return f"too few to tell: {n:,} {what} of {ENOUGH:,}"
