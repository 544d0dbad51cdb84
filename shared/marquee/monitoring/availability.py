"""Availability and latency minute by minute, from the streaming service's own log lines.

Our own servers are not asked: what never reached them would not be counted. A minute is computed where its
number of requests is not the one that ``availability`` holds; so late lines and a killed run mend themselves.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from marquee.db.pool import Database

REACH = timedelta(days=1)
"""A line that comes in later than this is not counted any more."""
BACKFILL = timedelta(days=7)
"""How far back the first run begins."""
DEADLINE_MS = 60_000

_NEWEST = "SELECT max(time) FROM availability"

_UPDATE = """
WITH requests AS (
    SELECT date_bin('1 minute', time, TIMESTAMPTZ 'epoch') AS time, server, status, response_ms
    FROM recommendation_requests WHERE time >= %(since)s AND time < %(until)s
), changed AS (
    SELECT r.time, r.server
    FROM (SELECT time, server, count(*) AS requests FROM requests GROUP BY time, server) AS r
    LEFT JOIN availability AS a ON a.time = r.time AND a.server = r.server
    WHERE a.requests IS DISTINCT FROM r.requests
)
INSERT INTO availability (time, server, requests, answered, late, failed, p50_ms, p95_ms, p99_ms)
SELECT time, server, count(*), count(*) FILTER (WHERE status = 200 AND response_ms <= %(timeout_ms)s),
       count(*) FILTER (WHERE response_ms > %(timeout_ms)s OR status <> 200 AND response_ms = %(timeout_ms)s),
       count(*) FILTER (WHERE status <> 200 AND response_ms < %(timeout_ms)s),
       percentile_cont(0.50) WITHIN GROUP (ORDER BY response_ms),
       percentile_cont(0.95) WITHIN GROUP (ORDER BY response_ms),
       percentile_cont(0.99) WITHIN GROUP (ORDER BY response_ms)
FROM requests JOIN changed USING (time, server)
GROUP BY time, server ORDER BY time, server
ON CONFLICT (time, server) DO UPDATE SET
    requests = excluded.requests, answered = excluded.answered, late = excluded.late, failed = excluded.failed,
    p50_ms = excluded.p50_ms, p95_ms = excluded.p95_ms, p99_ms = excluded.p99_ms"""


def update_availability(database: Database, now: datetime, caller_timeout_ms: int) -> int:
    """Bring the minutes until ``now`` up to date; returns how many rows changed.

    ``caller_timeout_ms``: when the service gives up; an answer after it is late, whatever its status.
    """
    ((newest,),) = database.read(_NEWEST, deadline_ms=DEADLINE_MS)
    since = min(max(newest or now - BACKFILL, now - BACKFILL), now - REACH)
    with database.transaction(deadline_ms=DEADLINE_MS) as cursor:
        since = since.replace(second=0, microsecond=0)
        cursor.execute(_UPDATE, {"since": since, "until": now, "timeout_ms": caller_timeout_ms})
        return int(cursor.rowcount)
