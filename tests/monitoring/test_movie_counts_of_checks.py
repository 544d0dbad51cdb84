"""Counts of the search for suspect accounts: equal to those of the events, whatever is late, killed or deleted."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psycopg2
import pytest
from tests.support.records import rows

from marquee.db.pool import Database
from marquee.ingest.retention_terms import delete_expired_rows
from marquee.monitoring.account_anomalies import MovieRatings, MovieWatches
from marquee.monitoring.suspect_accounts import count_ratings, count_watches
from marquee.privacy import forget_journal, personal_tables

pytestmark = pytest.mark.servers
NOW = datetime.now(UTC)
DAY = timedelta(days=1)
LEVELS = {"highest": (5.0, 5.0), "liked": (4.0, 5.0), "disliked": (1.0, 2.0), "lowest": (1.0, 1.0)}
PERIOD = "date_bin(INTERVAL '30 days', %(since)s::timestamptz, TIMESTAMPTZ '2000-01-03 00:00:00+00')"
TIMES = {"begin": NOW - 7 * DAY, "since": NOW - 180 * DAY, "now": NOW}

# The same numbers from the events.
NEW = "NOT EXISTS (SELECT FROM {0} AS e WHERE e.user_id = u.user_id AND e.{1} < %(begin)s)"
RATINGS = f"""
WITH recent AS (
    SELECT DISTINCT ON (user_id, movie_id) * FROM ratings WHERE time >= %(begin)s AND time < %(now)s
    ORDER BY user_id, movie_id, time DESC
), counted AS (
    SELECT movie_id, rating, {NEW.format("ratings", "time")} AS is_new FROM recent AS u
    UNION ALL
    SELECT movie_id, rating, false FROM ratings WHERE time >= {PERIOD} AND time < %(begin)s
)
SELECT movie_id, count(*) FILTER (WHERE is_new),
       ARRAY[count(*) FILTER (WHERE is_new AND rating = 5), count(*) FILTER (WHERE is_new AND rating >= 4),
             count(*) FILTER (WHERE is_new AND rating <= 2), count(*) FILTER (WHERE is_new AND rating = 1)],
       count(*) FILTER (WHERE NOT is_new),
       ARRAY[count(*) FILTER (WHERE NOT is_new AND rating = 5), count(*) FILTER (WHERE NOT is_new AND rating >= 4),
             count(*) FILTER (WHERE NOT is_new AND rating <= 2), count(*) FILTER (WHERE NOT is_new AND rating = 1)]
FROM counted GROUP BY movie_id ORDER BY movie_id"""
WATCHES = f"""
WITH recent AS (SELECT * FROM watch_sessions WHERE started >= %(begin)s AND started < %(now)s), counted AS (
    SELECT movie_id, {NEW.format("ratings", "time")} AND {NEW.format("watch_sessions", "started")} AS is_new,
           true AS is_recent FROM recent AS u
    UNION ALL
    SELECT movie_id, false, false FROM watch_sessions WHERE started >= {PERIOD} AND started < %(begin)s
)
SELECT movie_id, count(*) FILTER (WHERE is_new), count(*) FILTER (WHERE is_recent AND NOT is_new),
       count(*) FILTER (WHERE NOT is_recent)
FROM counted GROUP BY movie_id ORDER BY movie_id"""

ADD_RATINGS = """
INSERT INTO ratings (time, topic_key, partition, "offset", user_id, movie_id, rating)
SELECT time, 1, %s, row_number() OVER (), user_id, movie_id, rating
FROM unnest(%s::timestamptz[], %s::text[], %s::text[], %s::smallint[]) AS r (time, user_id, movie_id, rating)"""
ADD_SESSIONS = """
INSERT INTO watch_sessions AS old (user_id, movie_id, started, ended, first_minute, last_minute)
SELECT user_id, movie_id, min(time), max(time), 0, 9
FROM unnest(%s::timestamptz[], %s::text[], %s::text[]) AS s (time, user_id, movie_id) GROUP BY 1, 2
ON CONFLICT (user_id, movie_id) DO UPDATE SET started = least(old.started, excluded.started)"""


class Events:
    """Random events of some users; a user rates a movie once, so that old and new ratings count alike."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._partition = 0
        self._pairs = {(f"u{user}", f"m{movie}") for user in range(120) for movie in range(12)}

    def write(self, cursor: Any, days_ago: tuple[float, float], n: int = 80) -> None:
        """Write ``n`` ratings and sessions between the two ages."""
        rng = self._rng
        times = [NOW - DAY * float(days) for days in rng.uniform(*days_ago, n)]
        pairs = [sorted(self._pairs)[at] for at in rng.choice(len(self._pairs), n, replace=False)]
        self._pairs -= set(pairs)
        users, movies = (list(column) for column in zip(*pairs, strict=True))
        self._partition += 1
        cursor.execute(ADD_RATINGS, (self._partition, times, users, movies, rng.integers(1, 6, n).tolist()))
        users, movies = ([f"{name}{at}" for at in rng.integers(0, size, n)] for name, size in (("u", 120), ("m", 15)))
        cursor.execute(ADD_SESSIONS, (times, users, movies))


def check_counts(database: Database) -> None:
    """Assert that both counts equal those of the events, and that some accounts are new."""
    ratings = [MovieRatings(m, n, tuple(new), o, tuple(old)) for m, n, new, o, old in read(database, RATINGS)]
    watches = [MovieWatches(*row) for row in read(database, WATCHES)]
    assert count_ratings(database, TIMES, LEVELS) == ratings
    assert count_watches(database, TIMES) == watches


def read(database: Database, query: str) -> list[tuple[Any, ...]]:
    return database.read(query, TIMES, deadline_ms=20_000)


def merge(database: Database, old: datetime = NOW - 14 * DAY) -> None:
    with database.transaction() as cursor:
        cursor.execute("SELECT merge_movie_counts(%s)", (old,))


def test_counts_of_random_events_equal_direct_counts(each_database: Database) -> None:
    """Old, recent, late, future and deleted events; before, between and after merges, killed ones included."""
    database, events = each_database, Events(0)
    for days_ago in ((20, 230), (-3, 7), (5, 40)):  # The last ones are late: users who seemed new are not.
        with database.transaction() as cursor:
            events.write(cursor, days_ago)
        check_counts(database)
        merge(database)
        check_counts(database)
    assert sum(movie.new for movie in count_ratings(database, TIMES, LEVELS)) > 0
    assert sum(movie.new for movie in count_watches(database, TIMES)) > 0
    merge(database, NOW + 999 * DAY)  # By a clock that is ahead.
    check_counts(database)
    with closing(psycopg2.connect(database.url)) as connection, connection.cursor() as cursor:
        events.write(cursor, (0, 40))  # Killed before it commits.
        cursor.execute("SELECT merge_movie_counts(%s)", (NOW,))
        connection.rollback()
    check_counts(database)


def test_counts_after_deletions_equal_direct_counts(each_database: Database) -> None:
    """A user who is forgotten is counted nowhere, and rows that expire change no count that is read."""
    database, events = each_database, Events(2)
    with database.transaction() as cursor:
        for days_ago in ((20, 230), (0, 7), (1_100, 1_200)):
            events.write(cursor, days_ago)
    merge(database)
    gone = [user for (user,) in rows(database, "SELECT DISTINCT user_id FROM new_accounts ORDER BY 1")][::2]
    forget_journal.open_requests(database, "k" * 32, gone)
    personal_tables.delete_rows(database, gone)
    check_counts(database)
    merge(database)
    check_counts(database)
    assert rows(database, "SELECT sum(ratings)::bigint FROM movie_rating_counts") == rows(
        database, "SELECT count(*) FROM ratings"
    )
    assert rows(database, "SELECT sum(sessions)::bigint FROM movie_session_counts") == rows(
        database, "SELECT count(*) FROM watch_sessions"
    )
    delete_expired_rows(database)
    check_counts(database)
    assert rows(database, "SELECT count(*) FROM new_accounts WHERE time < now() - INTERVAL '15 days'") == [(0,)]


def test_counts_established_ratings_count_each_and_new_ones_once(each_database: Database) -> None:
    """Of a new account the newest rating of a movie counts; of an established one each, as in the weeks before."""
    with each_database.transaction() as cursor:
        at = [NOW - DAY * days for days in (30, 3, 2, 3, 2)]
        users, movies = ["old", "old", "old", "new", "new"], ["a", "b", "b", "b", "b"]
        cursor.execute(ADD_RATINGS, (0, at, users, movies, [3, 5, 1, 5, 1]))
    assert count_ratings(each_database, TIMES, LEVELS) == [
        MovieRatings("a", 0, (0, 0, 0, 0), 1, (0, 0, 0, 0)),
        MovieRatings("b", 1, (0, 0, 1, 1), 2, (1, 1, 1, 1)),
    ]
