"""Alerts of the operation: the stream, the answers and the monitor."""

from __future__ import annotations

from dashboards import data_quality, service_health, stream
from dashboards.alert_rule import LABEL, PERCENT, AlertRule, number

STREAM_SILENT = AlertRule(
    "stream-silent",
    "Stream silent",
    """
SELECT extract(epoch FROM $__timeTo()::timestamptz - max(time))::float8 AS seconds
FROM deliveries_per_minute WHERE time <= $__timeTo()::timestamptz HAVING max(time) IS NOT NULL""",
    300,
    "2m",
    "critical",
    f"Nothing of the log was written for {number('%.0f')} seconds.",
    "stream",
    stream.SILENCE,
    no_data="Alerting",
    error="Alerting",
)
LAG = AlertRule(
    "lag",
    "Lag",
    """
SELECT max(lag_ms_max)::float8 / 1000 AS seconds FROM deliveries_per_minute
WHERE $__timeFilter(time) HAVING max(lag_ms_max) IS NOT NULL""",
    60,
    "5m",
    "warning",
    f"Lines take up to {number('%.0f')} seconds from Kafka to the tables.",
    "stream",
    stream.LAG,
    span_s=180,
)
ERROR_RATE = AlertRule(
    "error-rate",
    "Error rate",
    """
SELECT (sum(requests) - sum(answered))::float8 / sum(requests) AS share FROM availability
WHERE $__timeFilter(time) HAVING sum(requests) >= 100""",
    0.01,
    "5m",
    "critical",
    f"{PERCENT} of the requests for recommendations failed or came too late, as the streaming service saw them.",
    "service-health",
    service_health.ANSWERED,
)
SLOW_ANSWERS = AlertRule(
    "slow-answers",
    "Slow answers",
    """
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY p99_ms) AS ms FROM availability
WHERE $__timeFilter(time) AND requests >= 20 HAVING count(*) > 0""",
    300,
    "10m",
    "warning",
    f"p99 of a typical minute is {number('%.0f')} ms; the caller gives up at 600.",
    "service-health",
    service_health.P99,
)
MONITOR_SILENT = AlertRule(
    "monitor-silent",
    "Monitor silent",
    """
SELECT task, extract(epoch FROM $__timeTo()::timestamptz
           - coalesce(max(time) FILTER (WHERE error = ''), min(time)))::float8 AS seconds
FROM monitor_runs WHERE $__timeFilter(time) GROUP BY task""",
    3_600,
    "5m",
    "warning",
    f"The monitor's task {LABEL % 'task'} has not ended well for {number('%.0f')} s: what rests on it is old.",
    "data-quality",
    data_quality.MONITOR,
    span_s=86_400,
    no_data="Alerting",
)
