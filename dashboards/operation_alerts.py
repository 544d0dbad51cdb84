"""Alert rules for operation: the stream, the responses and the monitor."""

from __future__ import annotations

from dashboards import data_quality, service_health, stream
from dashboards.alert_rule import AlertRule

STREAM_SILENT = AlertRule(
    "stream-silent",
    "Stream silent",
    f"""
WITH newest AS (
    SELECT topic, max(time) AS time FROM deliveries_per_minute JOIN topics USING (topic_key)
    WHERE time <= $__timeTo()::timestamptz
      AND time > (SELECT max(time) FROM deliveries_per_minute WHERE time <= $__timeTo()::timestamptz) - INTERVAL '1 day'
    GROUP BY topic
)
SELECT {stream.LOG_OR_HTTP} AS topic, extract(epoch FROM $__timeTo()::timestamptz - max(time))::float8 AS seconds
FROM newest WHERE {stream.OF_THE_LOG} GROUP BY 1""",  # noqa: S608
    300,
    "s",
    "2m",
    "critical",
    "No record of a topic of the event log has been written to the database for several minutes.",
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
    "s",
    "5m",
    "warning",
    "Records take too long from Kafka to the database.",
    "stream",
    stream.LAG,
    span_s=180,
)
ERROR_RATE = AlertRule(
    "error-rate",
    "Error rate",
    """
SELECT 100.0 * (sum(requests) - sum(answered)) / sum(requests) AS percent FROM availability
WHERE $__timeFilter(time) HAVING sum(requests) >= 100""",
    1,
    "%",
    "5m",
    "critical",
    "Requests for recommendations fail or are answered too late, as seen by the streaming service.",
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
    "ms",
    "10m",
    "warning",
    "The median p99 latency per minute is high. The streaming service times out at 600 ms.",
    "service-health",
    service_health.P99,
)
AGE_RULE = AlertRule(
    "age-rule",
    "Age rule",
    """
SELECT model_version AS version, count(*)::float8 AS lists FROM impressions
WHERE $__timeFilter(time) AND 'age-rule-broken' = ANY (notes) GROUP BY model_version""",
    0,
    "short",
    "1m",
    "critical",
    "A movie above the age of an account was in a list, and was removed at the last moment: a rule has failed.",
    "service-health",
    service_health.AGE_RULE,
)
MONITOR_SILENT = AlertRule(
    "monitor-silent",
    "Monitor silent",
    """
SELECT task, extract(epoch FROM $__timeTo()::timestamptz
           - coalesce(max(time) FILTER (WHERE error = ''), min(time)))::float8 AS seconds
FROM monitor_runs WHERE $__timeFilter(time) GROUP BY task""",
    3_600,
    "s",
    "5m",
    "warning",
    "A task of the monitor has not succeeded for a long time. The tables that it writes are out of date.",
    "data-quality",
    data_quality.MONITOR,
    span_s=86_400,
    no_data="Alerting",
)
