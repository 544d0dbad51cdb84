"""Live fairness by release and arm, in table ``live_fairness``: a day that ends at each full hour.

Errors are those of ``predictions``, exposure that of ``impressions``. NDCG is that of each user's first list of the
day: relevant are the movies that they rated well or watched for :data:`TRIED_MINUTES` from then to the end of the day.
Groups of users come from what the system knows already: the length of the history in the artifact, and sex and age from
the customer service, which are kept in memory only. Rows hold groups, never users.

A day is computed again if its number of ratings or impressions differs from the stored one. Users are sampled by a hash
of their id, so that the cost is bounded and the row is a function of the data.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from marquee.db.pool import Database
from marquee.db.privacy_marks import uses_pseudonyms
from marquee.evaluation import movie_groups, user_groups
from marquee.evaluation.movie_groups import MovieGroups
from marquee.events.log_scale import FIVE_STARS, LogScale
from marquee.monitoring.fairness_measures import (
    EXPOSURE_GINI,
    EXPOSURE_SHARE,
    EXPOSURE_TOP,
    LIKED_SHARE,
    MIN_USERS,
    NDCG,
    NDCG_GAP,
    RMSE,
    RMSE_GAP,
    UNKNOWN_SHARE,
    FairnessValue,
    UserSums,
    measure_all,
    measure_exposure,
    measure_groups,
    measure_ndcg,
)
from marquee.monitoring.user_demographics import UserDemographics
from marquee.scoring.cohort_scores import GENRE_PREFIX
from marquee.scoring.interaction_weights import LIKED_FRACTION, TRIED_MINUTES
from marquee.serving.engine import Engine

DAY, STEP = timedelta(days=1), timedelta(hours=1)
LOOKBACK = timedelta(days=1)
"""Period before now in which the ends of days lie that are checked for late records."""
MAX_USERS = 5_000
"""Maximum number of users of a release and arm whose data are read."""
DEADLINE_MS, BUDGET_S = 60_000, 60.0

# Hours are counted once, and belong to the 24 days that end in the next 24 hours.
_HOURS = """
SELECT hour, release, arm, model_version, sum(ratings)::bigint, sum(impressions)::bigint
FROM (SELECT date_bin('1 hour', time, 'epoch') AS hour, release, arm, model_version, count(*) AS ratings,
             0 AS impressions
      FROM predictions
      WHERE time >= %(since)s AND time < %(until)s AND predicted IS NOT NULL GROUP BY 1, 2, 3, 4
      UNION ALL
      SELECT date_bin('1 hour', time, 'epoch'), release, arm, model_version, 0, count(*) FROM impressions
      WHERE time >= %(since)s AND time < %(until)s GROUP BY 1, 2, 3, 4) AS counted
WHERE model_version <> '' GROUP BY 1, 2, 3, 4"""

_STORED = """
SELECT release, arm, model_version,
       coalesce(max(sample) FILTER (WHERE metric = 'rmse' AND kind = ''), 0),
       coalesce(max(sample) FILTER (WHERE metric = 'exposure_gini'), 0),
       coalesce(max(sample) FILTER (WHERE metric = 'unknown_share' AND kind = 'gender'), 0),
       coalesce(max(sample) FILTER (WHERE metric = 'liked_share'), 0)
FROM live_fairness WHERE time = %s GROUP BY 1, 2, 3"""

_ERRORS = """
WITH rated AS (
    SELECT user_id, sum((predicted - rating * rating_step()) ^ 2) AS squared, count(*)::float8 AS ratings
    FROM predictions
    WHERE time >= %(since)s AND time < %(until)s AND predicted IS NOT NULL
      AND release = %(release)s AND arm = %(arm)s AND model_version = %(version)s
    GROUP BY user_id)
SELECT user_id, squared, ratings FROM rated ORDER BY hashtextextended(user_id, 0), user_id LIMIT %(users)s"""

# The exposure of a position is 1 / log2(position + 1); ten positions count (marquee.evaluation.exposure).
_EXPOSURE = """
WITH chosen AS (
    SELECT user_id FROM impressions
    WHERE time >= %(since)s AND time < %(until)s
      AND release = %(release)s AND arm = %(arm)s AND model_version = %(version)s
    GROUP BY user_id ORDER BY hashtextextended(user_id, 0), user_id LIMIT %(users)s)
SELECT user_id, movie_id, sum(ln(2.0::float8) / ln(position + 1.0::float8)) FROM impression_movies
JOIN chosen USING (user_id)
WHERE time >= %(since)s AND time < %(until)s AND position <= 10
  AND release = %(release)s AND arm = %(arm)s AND model_version = %(version)s
GROUP BY user_id, movie_id ORDER BY user_id, movie_id"""

# A row for each movie that a user liked after the list, and one with nulls for each list.
_LIKED = """
WITH chosen AS (
    SELECT user_id FROM impressions
    WHERE time >= %(since)s AND time < %(until)s
      AND release = %(release)s AND arm = %(arm)s AND model_version = %(version)s
    GROUP BY user_id ORDER BY hashtextextended(user_id, 0), user_id LIMIT %(users)s),
lists AS (
    SELECT DISTINCT ON (user_id) user_id, id, time, movies FROM impressions JOIN chosen USING (user_id)
    WHERE time >= %(since)s AND time < %(until)s
      AND release = %(release)s AND arm = %(arm)s AND model_version = %(version)s ORDER BY user_id, time, id),
liked AS (
    SELECT l.user_id, r.movie_id FROM lists AS l JOIN ratings AS r USING (user_id)
    WHERE r.time >= l.time AND r.time < %(until)s AND r.rating * rating_step() >= %(liked)s
    UNION
    SELECT l.user_id, s.movie_id FROM lists AS l JOIN watch_sessions AS s USING (user_id)
    WHERE s.started >= l.time AND s.started < %(until)s AND s.last_minute >= %(tried)s),
listed AS (
    SELECT l.user_id, m.movie ->> 'movie_id' AS movie_id, m.position
    FROM lists AS l, jsonb_array_elements(l.movies) WITH ORDINALITY AS m (movie, position) WHERE m.position <= 10)
SELECT l.user_id, liked.movie_id IS NOT NULL, listed.position
FROM lists AS l LEFT JOIN liked USING (user_id) LEFT JOIN listed USING (user_id, movie_id) ORDER BY 1, 3"""

_DELETE = """
DELETE FROM live_fairness WHERE time = %s AND release = %s AND arm = %s AND model_version = %s AND metric = ANY(%s)"""
_WRITE = """
INSERT INTO live_fairness (time, release, arm, model_version, metric, kind, group_name, sample, users, value, low, high)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (time, release, arm, model_version, metric, kind, group_name) DO UPDATE SET
    sample = excluded.sample, users = excluded.users, value = excluded.value, low = excluded.low,
    high = excluded.high"""

_ERROR_METRICS = [RMSE, RMSE_GAP, UNKNOWN_SHARE]
_LIST_METRICS = [NDCG, NDCG_GAP, LIKED_SHARE]
_EXPOSURE_METRICS = [EXPOSURE_GINI, EXPOSURE_SHARE, EXPOSURE_TOP]
Arm = tuple[int, str, str]


class LiveFairness:
    """Task of the monitor. ``load_engine`` returns the engine of a version, None if its artifact is refused.

    ``scale`` is the rating scale of the event log.

    ``demographics`` is None without a customer service. Then there are no groups by sex and age, nor while rows hold
    pseudonyms, which the service does not know.
    """

    def __init__(
        self,
        load_engine: Callable[[str], Engine | None],
        demographics: UserDemographics | None = None,
        scale: LogScale = FIVE_STARS,
    ) -> None:
        self._load_engine = load_engine
        self._liked = scale.low + LIKED_FRACTION * (scale.high - scale.low)
        self._service = demographics
        self._demographics = demographics

    def update(self, database: Database, now: datetime, budget_s: float = BUDGET_S) -> int:
        """Compute the changed days that end by ``now``, newest first; return the number of rows written.

        After ``budget_s`` seconds the remaining days are left to the next call.
        """
        rows, ends = 0, time.monotonic() + budget_s
        self._demographics = self._service if self._service and not uses_pseudonyms(database) else None
        newest = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        counts = _count_hours(database, newest - LOOKBACK - DAY, newest)
        for number in range(LOOKBACK // STEP):
            end = newest - number * STEP
            rows += self._update_day(database, end, _add_hours(counts, end - DAY, end))
            if time.monotonic() > ends:
                break
        return rows

    def _update_day(self, database: Database, end: datetime, arms: Mapping[Arm, tuple[int, int]]) -> int:
        window = {"since": end - DAY, "until": end}
        stored = {
            (release, arm, version): counts
            for release, arm, version, *counts in database.read(_STORED, (end,), deadline_ms=DEADLINE_MS)
        }
        rows = 0
        for arm_key, (ratings, shown) in sorted(arms.items()):
            release, arm, version = arm_key
            old_ratings, old_shown, old_demographic, old_lists = stored.get(arm_key, (0, 0, 0, 0))
            engine = None
            parameters = {**window, "release": release, "arm": arm, "version": version, "users": MAX_USERS}
            is_open = self._demographics is not None and old_demographic != ratings
            if ratings and (old_ratings != ratings or is_open):
                engine = self._load_engine(version)
                found = self._measure_errors(database, engine, parameters)
                rows += _write(database, end, arm_key, ratings, found, _ERROR_METRICS)
            if shown and old_shown != shown:
                engine = engine or self._load_engine(version)
                found = list(_measure_shown(database, engine, parameters))
                rows += _write(database, end, arm_key, shown, found, _EXPOSURE_METRICS)
            if shown and old_lists != shown + ratings:
                engine = engine or self._load_engine(version)
                found = self._measure_lists(database, engine, parameters)
                rows += _write(database, end, arm_key, shown + ratings, found, _LIST_METRICS)
        return rows

    def _measure_errors(
        self, database: Database, engine: Engine | None, parameters: Mapping[str, object]
    ) -> list[FairnessValue]:
        columns = database.read(_ERRORS, parameters, deadline_ms=DEADLINE_MS)
        user_ids = [user_id for user_id, _, _ in columns]
        errors = UserSums(
            user_ids, np.array([row[1] for row in columns]), np.array([row[2] for row in columns], np.float64)
        )
        return self._measure_sums(errors, engine)

    def _measure_lists(
        self, database: Database, engine: Engine | None, parameters: Mapping[str, object]
    ) -> list[FairnessValue]:
        """Return the NDCG by group, and the share of the users who liked any movie after their list."""
        values = {**parameters, "liked": self._liked, "tried": TRIED_MINUTES}
        found = database.read(_LIKED, values, deadline_ms=DEADLINE_MS)
        ndcg = measure_ndcg((user_id, position) for user_id, liked, position in found if liked)
        users = len({user_id for user_id, _, _ in found})
        share = FairnessValue(LIKED_SHARE, "", "", users, len(ndcg.user_ids) / users)
        return [share, *self._measure_sums(ndcg, engine)] if len(ndcg.user_ids) >= MIN_USERS else [share]

    def _measure_sums(self, sums: UserSums, engine: Engine | None) -> list[FairnessValue]:
        labels = {user_groups.ACTIVITY: label_activity(engine, sums.user_ids)} if engine else {}
        known = self._demographics.label(sums.user_ids) if self._demographics else None
        by_kind = labels | (known or {})
        return [
            measure_all(sums),
            *(value for kind, names in by_kind.items() for value in measure_groups(sums, kind, names)),
        ]


def _count_hours(database: Database, since: datetime, until: datetime) -> list[tuple[datetime, Arm, int, int]]:
    """Return the numbers of ratings and of impressions of each arm in each hour."""
    found = database.read(_HOURS, {"since": since, "until": until}, deadline_ms=DEADLINE_MS)
    return [(hour, (release, arm, version), *counts) for hour, release, arm, version, *counts in found]


def _add_hours(
    counts: Iterable[tuple[datetime, Arm, int, int]], since: datetime, until: datetime
) -> dict[Arm, tuple[int, int]]:
    """Return the numbers of ratings and of impressions of each arm from ``since`` until ``until``."""
    sums: dict[Arm, tuple[int, int]] = {}
    for hour, arm, ratings, shown in counts:
        if since <= hour < until:
            old_ratings, old_shown = sums.get(arm, (0, 0))
            sums[arm] = (old_ratings + ratings, old_shown + shown)
    return sums


def label_activity(engine: Engine, user_ids: Sequence[str]) -> list[str]:
    """Return the band of each user by the length of their history in the artifact."""
    labels = []
    for user_id in user_ids:
        record = engine.find_record(user_id)
        labels.append(user_groups.activity_band(len(record.items) if record else 0))
    return labels


def group_items(engine: Engine) -> dict[str, MovieGroups]:
    """Return the groups of an artifact's movies: by popularity, and by genre if it has genres."""
    factors = engine.item_factors
    groups = {"popularity": movie_groups.group_by_popularity(factors.popularity.astype(np.float64))}
    names: defaultdict[int, list[str]] = defaultdict(list)
    for cohort, row in sorted(factors.cohorts.items()):
        if cohort.startswith(GENRE_PREFIX):
            for item in np.flatnonzero(factors.cohort_scores[row] > 0).tolist():
                names[item].append(cohort.removeprefix(GENRE_PREFIX))
    if names:
        groups["genre"] = movie_groups.group_by_names([names[item] for item in range(len(factors.movie_ids))])
    return groups


def _measure_shown(
    database: Database, engine: Engine | None, parameters: Mapping[str, object]
) -> Iterator[FairnessValue]:
    if engine is not None:
        shown = database.read(_EXPOSURE, parameters, deadline_ms=DEADLINE_MS)
        yield from measure_exposure(shown, engine.item_factors.items, group_items(engine))


def _write(
    database: Database, end: datetime, arm: Arm, sample: int, found: Iterable[FairnessValue], metrics: list[str]
) -> int:
    """Replace the rows of ``metrics`` in one transaction; return their number."""
    rows = [
        (end, *arm, v.metric, v.kind, v.group, sample, v.users, v.value, v.low, v.high)
        for v in found
        if np.isfinite(v.value)
    ]
    with database.transaction() as cursor:
        cursor.execute(_DELETE, (end, *arm, metrics))
        cursor.executemany(_WRITE, rows)
    return len(rows)
