"""Popularity of movies, counted from the records that are new since the last run.

Users are counted, not records: what one account repeats must not move a movie. An account that rates a movie counts 1,
unless it has rated the movie in the week before; one that watches a movie counts 0.5, once. A score decays by half in a
week. A time counts at most as now: one record that is dated in the future must not outweigh all others. A record is
counted once, because the rows and the offset up to which they were counted change in one transaction. Offsets below
that are never counted, such as those of replayed records: popularity needs no exactness.
"""

from __future__ import annotations

from typing import Any

from marquee.db.pool import Database

BATCH = 200_000
"""Maximum of records of a partition that one run counts."""
BACKLOG = 500_000
"""Older records of a partition are skipped: the newest are enough to say what is popular."""
KEPT = 20_000
"""Number of movies that are kept."""
DEADLINE_MS = 60_000

_BUCKET_S = {"watches": 3_600, "ratings": 86_400}
"""Precision of a pair's age. The pairs of one movie and bucket are counted together."""
_WEIGHT = {"watches": 0.5, "ratings": 1.0}

# True for a pair of user and movie that did not count before this batch. A watch session has the time of its pair's
# first watch. The ratings of a week are joined by hash: the planner cannot estimate the pairs, and would loop.
_NOT_COUNTED = {
    "watches": """(
        SELECT s.started < p.since FROM watch_sessions AS s WHERE s.user_id = p.user_id AND s.movie_id = p.movie_id
    ) IS NOT TRUE""",
    "ratings": """NOT EXISTS (
        SELECT FROM ratings AS r WHERE r.user_id = p.user_id AND r.movie_id = p.movie_id
        AND r.time >= %(since)s::timestamptz - INTERVAL '7 days'
        AND NOT (r.topic_key = %(topic_key)s AND r.partition = %(partition)s AND r."offset" >= %(start)s))""",
}
_SETTINGS = "SET LOCAL enable_nestloop = off"

# A sample of the rows stands for all where no ledger names the partitions.
_PARTITIONS = """
SELECT topic_key, partition FROM written_offsets
UNION SELECT topic_key, partition FROM (SELECT topic_key, partition FROM watches LIMIT 1000) AS sample
UNION SELECT topic_key, partition FROM (SELECT topic_key, partition FROM ratings LIMIT 1000) AS sample
ORDER BY topic_key, partition"""

_LOCK = "LOCK TABLE popularity_progress IN SHARE ROW EXCLUSIVE MODE"

# SOURCE is one of the two tables.
_START = """
SELECT coalesce(greatest(
    (SELECT next_offset FROM popularity_progress
     WHERE source = 'SOURCE' AND topic_key = %(topic_key)s AND partition = %(partition)s),
    (SELECT "offset" - %(backlog)s FROM SOURCE WHERE topic_key = %(topic_key)s AND partition = %(partition)s
     ORDER BY "offset" DESC LIMIT 1)), 0)"""
_SINCE = """
SELECT min(least(time, now())) FROM (
    SELECT time FROM SOURCE WHERE topic_key = %(topic_key)s AND partition = %(partition)s AND "offset" >= %(start)s
    ORDER BY "offset" LIMIT %(limit)s) AS batch"""
_UPDATE = """
WITH batch AS (
    SELECT "offset", user_id, movie_id, least(time, now()) AS time
    FROM SOURCE
    WHERE topic_key = %(topic_key)s AND partition = %(partition)s AND "offset" >= %(start)s
    ORDER BY "offset" LIMIT %(limit)s
), pairs AS MATERIALIZED (
    SELECT user_id, movie_id, min(time) AS since FROM batch GROUP BY user_id, movie_id
), fresh AS (
    SELECT movie_id,
           date_bin(%(bucket_s)s * INTERVAL '1 second', since, TIMESTAMPTZ '2000-01-03 00:00:00+00') AS time
    FROM pairs AS p WHERE NOT_COUNTED
), buckets AS (
    SELECT movie_id, time, count(*) * %(weight)s::double precision AS weight,
           max(time) OVER (PARTITION BY movie_id) AS newest
    FROM fresh GROUP BY movie_id, time
), movies AS (
    SELECT movie_id, extract(epoch FROM newest)::double precision / 604800
           + ln(sum(weight * power(2, greatest(extract(epoch FROM time - newest)::double precision / 604800, -1000))))
             / ln(2::double precision) AS log_score
    FROM buckets GROUP BY movie_id, newest ORDER BY movie_id
), updated AS (
    INSERT INTO popular_movies AS p (movie_id, log_score) SELECT movie_id, log_score FROM movies
    ON CONFLICT (movie_id) DO UPDATE SET log_score = greatest(p.log_score, excluded.log_score)
        + ln(1 + power(2::double precision, greatest(-abs(p.log_score - excluded.log_score), -1000)))
          / ln(2::double precision)
    RETURNING movie_id
), progress AS (
    INSERT INTO popularity_progress AS p (source, topic_key, partition, next_offset, newest)
    SELECT 'SOURCE', %(topic_key)s, %(partition)s, max("offset") + 1,
           date_bin(%(bucket_s)s * INTERVAL '1 second', max(time), TIMESTAMPTZ '2000-01-03 00:00:00+00')
    FROM batch HAVING count(*) > 0
    ON CONFLICT (source, topic_key, partition) DO UPDATE SET
        next_offset = excluded.next_offset, newest = greatest(p.newest, excluded.newest)
    RETURNING source
)
SELECT (SELECT count(*) FROM updated), (SELECT count(*) FROM progress)"""

_PRUNE = """
DELETE FROM popular_movies WHERE log_score < (
    SELECT log_score FROM popular_movies ORDER BY log_score DESC OFFSET %s LIMIT 1)"""


def update_popularity(database: Database) -> int:
    """Count the new records of every partition; return the number of rows that changed."""
    partitions = database.read(_PARTITIONS, deadline_ms=DEADLINE_MS)
    changed = sum(
        _count_new(database, source, topic_key, partition) for source in _WEIGHT for topic_key, partition in partitions
    )
    if changed:
        with database.transaction(deadline_ms=DEADLINE_MS) as cursor:
            cursor.execute(_PRUNE, (KEPT - 1,))
    return changed


def _count_new(database: Database, source: str, topic_key: int, partition: int) -> int:
    parameters: dict[str, Any] = {
        "topic_key": topic_key,
        "partition": partition,
        "backlog": BACKLOG,
        "limit": BATCH,
        "bucket_s": _BUCKET_S[source],
        "weight": _WEIGHT[source],
    }
    with database.transaction(deadline_ms=DEADLINE_MS) as cursor:
        cursor.execute(_LOCK)
        for name, query in (("start", _START), ("since", _SINCE)):
            cursor.execute(query.replace("SOURCE", source), parameters)
            parameters[name] = cursor.fetchone()[0]
        if parameters["since"] is None:
            return 0
        cursor.execute(_SETTINGS)
        cursor.execute(_UPDATE.replace("NOT_COUNTED", _NOT_COUNTED[source]).replace("SOURCE", source), parameters)
        return int(cursor.fetchone()[0])
