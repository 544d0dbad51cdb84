"""Availability and latency per minute, from the requests in the streaming service's event log.

The metrics of our own servers are not used, because they miss requests that never arrived. A minute is recomputed if
its number of requests differs from the stored one. This rule covers late records and a run that was killed.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from marquee.db.pool import Database

MIN_LOOKBACK = timedelta(days=1)
"""A record that arrives later than this is not counted."""
BACKFILL = timedelta(days=7)
"""Start of the first run before now."""
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
    """Update the minutes until ``now``; return the number of rows that changed.

    A response after ``caller_timeout_ms``, the time-out of the streaming service, is late whatever its status.
    """
    ((newest,),) = database.read(_NEWEST, deadline_ms=DEADLINE_MS)
    since = min(max(newest or now - BACKFILL, now - BACKFILL), now - MIN_LOOKBACK)
    with database.transaction(deadline_ms=DEADLINE_MS) as cursor:
        since = since.replace(second=0, microsecond=0)
        cursor.execute(_UPDATE, {"since": since, "until": now, "timeout_ms": caller_timeout_ms})
        return int(cursor.rowcount)
