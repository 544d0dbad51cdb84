"""Availability and latency per minute, from the requests in the streaming service's event log.

The metrics of the servers are not used, because they miss requests that never arrived. A minute is recomputed if
its number of requests differs from the stored one. The numbers come from ``recommendation_requests_per_minute``, so a
run reads the requests of changed minutes only. This rule covers late records and a run that was killed.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from marquee.db.pool import Database

LOOKBACK = timedelta(days=7)
"""A record that arrives later than this after its time is not counted."""
DEADLINE_MS = 60_000

_UPDATE = """
WITH stored AS (
    SELECT time, sum(requests) AS requests FROM availability WHERE time >= %(since)s GROUP BY time
), written AS (
    SELECT time, sum(requests) AS requests FROM recommendation_requests_per_minute
    WHERE time >= %(since)s AND time < %(until)s GROUP BY time
), changed AS MATERIALIZED (
    SELECT time FROM written LEFT JOIN stored USING (time) WHERE stored.requests IS DISTINCT FROM written.requests
)
INSERT INTO availability AS old (time, server, requests, answered, late, failed, p50_ms, p95_ms, p99_ms)
SELECT changed.time, server, count(*), count(*) FILTER (WHERE status = 200 AND response_ms <= %(timeout_ms)s),
       count(*) FILTER (WHERE response_ms > %(timeout_ms)s OR status <> 200 AND response_ms = %(timeout_ms)s),
       count(*) FILTER (WHERE status <> 200 AND response_ms < %(timeout_ms)s),
       percentile_cont(0.50) WITHIN GROUP (ORDER BY response_ms),
       percentile_cont(0.95) WITHIN GROUP (ORDER BY response_ms),
       percentile_cont(0.99) WITHIN GROUP (ORDER BY response_ms)
FROM changed CROSS JOIN LATERAL (
    SELECT server, status, response_ms FROM recommendation_requests
    WHERE time >= changed.time AND time < least(changed.time + INTERVAL '1 minute', %(until)s)
) AS requests
GROUP BY changed.time, server ORDER BY changed.time, server
ON CONFLICT (time, server) DO UPDATE SET
    requests = excluded.requests, answered = excluded.answered, late = excluded.late, failed = excluded.failed,
    p50_ms = excluded.p50_ms, p95_ms = excluded.p95_ms, p99_ms = excluded.p99_ms
WHERE old.requests <> excluded.requests"""


def update_availability(database: Database, now: datetime, caller_timeout_ms: int) -> int:
    """Update the minutes until ``now``; return the number of rows that changed.

    A response after ``caller_timeout_ms``, the time-out of the streaming service, is late whatever its status.
    """
    since = (now - LOOKBACK).replace(second=0, microsecond=0)
    with database.transaction(deadline_ms=DEADLINE_MS) as cursor:
        cursor.execute(_UPDATE, {"since": since, "until": now, "timeout_ms": caller_timeout_ms})
        return int(cursor.rowcount)
