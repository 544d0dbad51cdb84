"""Popularity of movies, counted from the records that are new since the last run.

A score decays by half in a week. A rating has weight 1, a watched minute 0.01, and a time counts at most as now: one
record that is dated in the future must not outweigh all others. A record is counted once, because the rows and the
offset up to which they were counted change in one transaction. Offsets below that are never counted, such as those of
replayed records: popularity needs no exactness.
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
"""Precision of a record's age. The records of one movie and bucket are counted together."""
_WEIGHT = {"watches": 0.01, "ratings": 1.0}

# A sample of the rows stands for all where no ledger names the partitions.
_PARTITIONS = """
SELECT topic_key, partition FROM written_offsets
UNION SELECT topic_key, partition FROM (SELECT topic_key, partition FROM watches LIMIT 1000) AS sample
UNION SELECT topic_key, partition FROM (SELECT topic_key, partition FROM ratings LIMIT 1000) AS sample
ORDER BY topic_key, partition"""

_LOCK = "LOCK TABLE popularity_progress IN SHARE ROW EXCLUSIVE MODE"

# SOURCE is one of the two tables.
_UPDATE = """
WITH start AS (
    SELECT greatest(
        (SELECT next_offset FROM popularity_progress
         WHERE source = 'SOURCE' AND topic_key = %(topic_key)s AND partition = %(partition)s),
        (SELECT "offset" - %(backlog)s FROM SOURCE WHERE topic_key = %(topic_key)s AND partition = %(partition)s
         ORDER BY "offset" DESC LIMIT 1)
    ) AS "offset"
), batch AS (
    SELECT "offset", movie_id,
           date_bin(%(bucket_s)s * INTERVAL '1 second', least(time, now()), TIMESTAMPTZ '2000-01-03 00:00:00+00')
               AS time
    FROM SOURCE
    WHERE topic_key = %(topic_key)s AND partition = %(partition)s AND "offset" >= (SELECT "offset" FROM start)
    ORDER BY "offset" LIMIT %(limit)s
), buckets AS (
    SELECT movie_id, time, count(*) * %(weight)s::double precision AS weight,
           max(time) OVER (PARTITION BY movie_id) AS newest
    FROM batch GROUP BY movie_id, time
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
    SELECT 'SOURCE', %(topic_key)s, %(partition)s, max("offset") + 1, max(time) FROM batch HAVING count(*) > 0
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
        cursor.execute(_UPDATE.replace("SOURCE", source), parameters)
        return int(cursor.fetchone()[0])
