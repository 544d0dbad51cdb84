"""Drift checks: recent data compared with the training data of the serving model, and the age of the model."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
import numpy as np
from numpy.typing import NDArray

from marquee.db.pool import Database
from marquee.monitoring.check_result import Check, Verdict, check_at_most
from marquee.monitoring.drift import (
    ACTIVITY_BIN_STARTS,
    MODERATE_CHANGE,
    STRONG_CHANGE,
    DataProfile,
    count_rating_bins,
    expected_stability_index,
    stability_index,
    wasserstein_distance,
)
from marquee.registry.item_factors import ItemFactors

CURRENT_WINDOW = timedelta(days=1)
"""Length of the recent window."""
REFERENCE_WINDOW = timedelta(days=3)
"""Length of the reference window, which ends with the newest event that the model was trained on."""
MIN_SAMPLE = 1_000
"""Minimum number of ratings, user-days or movies seen. With fewer an index is mostly sampling noise."""
MOVIE_BINS = 10
USUAL_AGE_H, BAD_AGE_H = 36.0, 72.0
"""Limits of the age of a model. Training runs every night; one failed night is a warning, two are bad."""
DEADLINE_MS = 60_000

_RATINGS = "SELECT rating * rating_step(), count(*)::int FROM ratings WHERE time > %s AND time <= %s GROUP BY rating"

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

_FIRST_UNSEEN = "SELECT min(time) FROM ratings WHERE time > %s AND time <= %s"


class DriftMonitor:
    """Comparison of recent data with the training data of a model. Not safe to share between threads.

    The reference is the newest training data from the stream, because the next days should resemble them. If they are
    too few, the reference for ratings is the profile of the whole snapshot in the manifest.
    """

    def __init__(self) -> None:
        # By version: counts of the reference window by fifth of the rating scale, and by activity bin.
        self._references: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}

    def check(self, database: Database, side: ItemFactors, now: datetime) -> list[Check]:
        """Return all checks of the model with the item side ``side``, as of ``now``."""
        (rated, usual), since = self._read_reference(database, side), now - CURRENT_WINDOW
        movies = _count_movies(database, since, now)
        ratings, activity = _count_ratings(database, side, since, now), _count_activity(database, since, now)
        return [
            *_check_ratings(side, rated, ratings),
            _check_fractions("drift.activity_psi", _fractions(usual), sum(usual), activity, "user-days"),
            *_check_movies(side, movies),
            _check_age(database, side, now),
        ]

    def _read_reference(self, database: Database, side: ItemFactors) -> tuple[tuple[int, ...], tuple[int, ...]]:
        version, until = side.manifest.version, side.manifest.trained_through
        if version not in self._references:
            window = until - REFERENCE_WINDOW, until
            counts = _count_ratings(database, side, *window), _count_activity(database, *window)
            self._references = {version: counts}
        return self._references[version]


def _count_ratings(database: Database, side: ItemFactors, since: datetime, until: datetime) -> tuple[int, ...]:
    counts = database.read(_RATINGS, (since, until), deadline_ms=DEADLINE_MS)
    return count_rating_bins(counts, side.manifest.rating_min, side.manifest.rating_max)


def _count_activity(database: Database, since: datetime, until: datetime) -> tuple[int, ...]:
    """Count user-days by activity bin. Days end with ``until``, so that the newest one is complete."""
    parameters = (list(ACTIVITY_BIN_STARTS), since, until, until)
    counts: dict[int, int] = dict(database.read(_ACTIVITY, parameters, deadline_ms=DEADLINE_MS))
    return tuple(counts.get(bin_, 0) for bin_ in range(1, len(ACTIVITY_BIN_STARTS) + 1))


def _count_movies(database: Database, since: datetime, until: datetime) -> dict[str, int]:
    parameters = {"since": since, "until": until}
    return dict(database.read(_MOVIES, parameters, deadline_ms=DEADLINE_MS))


def _check_ratings(side: ItemFactors, reference: Sequence[int], current: Sequence[int]) -> list[Check]:
    fractions, n_reference = _fractions(reference), sum(reference)
    if n_reference < MIN_SAMPLE and side.manifest.provenance.profile:
        profile = msgspec.convert(side.manifest.provenance.profile, DataProfile)
        fractions, n_reference = profile.fractions, profile.ratings
    index = _check_fractions("drift.rating_psi", fractions, n_reference, current, "ratings")
    if index.value is None:
        return [index, Check("drift.rating_wasserstein", None, "fraction of the scale", detail=index.detail)]
    distance = wasserstein_distance(fractions, _fractions(current))
    detail = "Wasserstein-1 distance, as a fraction of the scale"
    name, unit = "drift.rating_wasserstein", "fraction of the scale"
    return [index, check_at_most(name, distance, unit, usual=0.05, bad=0.1, detail=detail)]


def _check_movies(side: ItemFactors, movies: dict[str, int]) -> list[Check]:
    """Compare movies by deciles of the popularity in the artifact, and count the unknown ones."""
    seen, name = sum(movies.values()), "movies.unknown_rate"
    if seen < MIN_SAMPLE:
        detail = _too_few(seen, "ratings and watch sessions")
        return [
            Check(name, None, "fraction", detail=detail),
            Check("drift.movie_psi", None, "PSI", detail=detail),
        ]
    known = {side.items[movie]: count for movie, count in movies.items() if movie in side.items}
    unknown = 1 - sum(known.values()) / seen
    deciles, expected = _popularity_deciles(side.popularity)
    current = np.zeros(MOVIE_BINS, int)
    np.add.at(current, deciles[list(known)], list(known.values()))
    # The sampling error of the popularity in the artifact is negligible.
    return [
        check_at_most(name, unknown, "fraction", usual=0.02, bad=0.1, detail=f"of {seen:,} ratings and watch sessions"),
        _check_fractions("drift.movie_psi", expected, 10**9, current.tolist(), "ratings and watch sessions"),
    ]


def _popularity_deciles(
    popularity: NDArray[np.floating],
) -> tuple[NDArray[np.int64], tuple[float, ...]]:
    """Return the decile of each movie, shape (n_items,), and the popularity in each decile, summing to 1."""
    order = np.argsort(-popularity, kind="stable")
    fraction = popularity[order].astype(float) / popularity.sum(dtype=float)
    cumulative = np.cumsum(fraction) - fraction
    deciles = np.empty(len(popularity), int)
    deciles[order] = np.minimum((cumulative * MOVIE_BINS).astype(int), MOVIE_BINS - 1)
    return deciles, tuple(np.bincount(deciles[order], fraction, MOVIE_BINS).tolist())


def _check_age(database: Database, side: ItemFactors, now: datetime) -> Check:
    """Check the age of the oldest rating that the model was not trained on."""
    ((oldest,),) = database.read(_FIRST_UNSEEN, (side.manifest.trained_through, now), deadline_ms=DEADLINE_MS)
    hours = (now - oldest) / timedelta(hours=1) if oldest else 0.0
    detail = f"{side.manifest.version} is trained through {side.manifest.trained_through:%Y-%m-%d %H:%M} UTC"
    return check_at_most("model.age_h", hours, "h", usual=USUAL_AGE_H, bad=BAD_AGE_H, detail=detail)


def _check_fractions(
    name: str, reference: Sequence[float], n_reference: int, current: Sequence[int], sample: str
) -> Check:
    """Check a stability index. The limits are raised by the index expected from sampling alone."""
    n = sum(current)
    if min(n_reference, n) < MIN_SAMPLE:
        return Check(name, None, "PSI", Verdict.GOOD, detail=_too_few(min(n_reference, n), sample))
    noise = expected_stability_index(len(current), n_reference, n)
    index = stability_index(reference, _fractions(current))
    usual, bad = MODERATE_CHANGE + noise, STRONG_CHANGE + noise
    return check_at_most(name, index, "PSI", usual=usual, bad=bad, detail=f"{n:,} {sample} of the last day")


def _fractions(counts: Sequence[int]) -> tuple[float, ...]:
    total = sum(counts) or 1
    return tuple(count / total for count in counts)


def _too_few(n: int, sample: str) -> str:
    return f"too few data: {n:,} {sample} of {MIN_SAMPLE:,}"
