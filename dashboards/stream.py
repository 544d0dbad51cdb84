"""Dashboard of the stream: completeness and delay of the records."""

from __future__ import annotations

from dashboards.panels import Kind, Panel, Tile, above, below, info, series_sql

TITLE = "The stream"
QUESTION = "Does every record of the event log arrive, once, and how soon?"

RATE = Tile(
    1,
    "Records per second",
    "Rate of records written to the database in the newest complete minute.",
    "as many as the streaming service logs; about 1,500 at its usual load.",
    Kind.STAT,
    """
SELECT sum(records) / 60.0 AS records FROM deliveries_per_minute
WHERE time = (SELECT max(time) FROM deliveries_per_minute
              WHERE $__timeFilter(time)
                AND time < date_bin('1 minute', $__timeTo()::timestamptz, 'epoch'::timestamptz))""",
    "cps",
    above(0.1, 1),
    decimals=0,
    no_rows="No records in this time range",
    runbook="stream-silent",
)
# Sources of events over HTTP, such as one person who rates a movie, may be silent. Without an event log they are one.
LOG_OR_HTTP = "CASE WHEN starts_with(topic, 'http/') THEN 'http' ELSE topic END"
OF_THE_LOG = (
    "(NOT starts_with(topic, 'http/') OR NOT EXISTS (SELECT FROM newest AS n WHERE NOT starts_with(n.topic, 'http/')))"
)
SILENCE = Tile(
    2,
    "Time since the last record",
    "Time since a record was last written to the database, of the topic that has been silent for longest. A topic "
    "without records in the day before the newest record is left out, and events over HTTP are, beside an event log.",
    "a few seconds.",
    Kind.STAT,
    f"""
WITH newest AS (
    SELECT topic, max(updated) AS time FROM written_offsets JOIN topics USING (topic_key) GROUP BY topic
)
SELECT extract(epoch FROM $__timeTo()::timestamptz - min(time)) AS ago FROM (
    SELECT max(time) AS time FROM newest
    WHERE time > (SELECT max(time) FROM newest) - INTERVAL '1 day' AND {OF_THE_LOG} GROUP BY {LOG_OR_HTTP}
) AS topics""",  # noqa: S608
    "s",
    below(60, 300),
    decimals=0,
    no_rows="No record was ever written",
    runbook="stream-silent",
)
LAG = Tile(
    3,
    "Maximum lag",
    "Longest time of a record from Kafka to the database, in the newest ten minutes with records.",
    "below five seconds.",
    Kind.STAT,
    """
SELECT max(lag_ms_max) AS lag FROM deliveries_per_minute
WHERE time > (SELECT max(time) FROM deliveries_per_minute WHERE $__timeFilter(time)) - INTERVAL '10 minutes'
  AND $__timeFilter(time)""",
    "ms",
    below(5_000, 60_000),
    runbook="lag",
)
REDELIVERED = Tile(
    4,
    "Redelivered records",
    "Fraction of records delivered more than once. Delivery is at least once; each row is written once.",
    "below 1 %; more means that batches are not acknowledged in time.",
    Kind.STAT,
    """
SELECT sum(redelivered)::float8 / nullif(sum(records), 0) AS redelivered
FROM deliveries_per_minute WHERE $__timeFilter(time)""",
    "percentunit",
    below(0.01, 0.1),
    decimals=2,
)
KINDS = Panel(
    5,
    "Records by kind",
    "Written records by event kind and event time.",
    "follows the activity of the users; no kind drops to zero.",
    Kind.SERIES,
    """
SELECT $__timeGroupAlias(time,$__interval), replace(kind, '_', ' ') AS metric,
       sum(records) * 1000.0 / $__interval_ms AS records
FROM records_per_minute WHERE COMPLETE_POINTS GROUP BY 1, kind ORDER BY 1""",
    "cps",
    info(),
    stacked=True,
    min_value=0,
    runbook="stream-silent",
)
LAGS = Panel(
    6,
    "Maximum lag by partition",
    "Longest time from the Kafka timestamp of a record to its row in the database.",
    "below five seconds in every partition.",
    Kind.SERIES,
    """
SELECT $__timeGroupAlias(time,$__interval), 'partition ' || partition AS metric, max(lag_ms_max) AS lag
FROM deliveries_per_minute WHERE lag_ms_max IS NOT NULL AND COMPLETE_POINTS GROUP BY 1, partition ORDER BY 1""",
    "ms",
    below(5_000, 60_000),
    min_value=0,
    show_thresholds=True,
    runbook="lag",
)
BATCHES = Panel(
    7,
    "Records per batch",
    "Mean and largest batch. Batches grow under load, which is how the bridge keeps up.",
    "the largest well below the limit of 10,000.",
    Kind.SERIES,
    series_sql(
        """sum(records)::float8 / nullif(sum(batches), 0) AS mean,
       max(batch_records_max) AS largest""",
        "deliveries_per_minute WHERE",
    ),
    "short",
    below(8_000, 10_000),
    min_value=0,
    runbook="lag",
)
REDELIVERED_OVER_TIME = Panel(
    8,
    "Redelivered records per second",
    "Rate of records that were already written.",
    "zero, except for a moment after a restart.",
    Kind.SERIES,
    series_sql("sum(redelivered) * 1000.0 / $__interval_ms AS redelivered", "deliveries_per_minute WHERE"),
    "cps",
    info(),
    min_value=0,
)
PARTITIONS = Panel(
    9,
    "Partitions",
    "Next offset, rows by kind, and time since the last record of each partition of each topic.",
    "all partitions of a topic advance together.",
    Kind.TABLE,
    """
SELECT topic, partition, next_offset AS "next offset", watches, ratings, recommendation_requests AS requests,
       accounts, quarantine, extract(epoch FROM $__timeTo()::timestamptz - updated) AS "last record"
FROM written_offsets JOIN topics USING (topic_key) ORDER BY topic_key DESC, partition LIMIT 50""",
    "none",
    info(),
    width=16,
    no_rows="No record was ever written",
    units={"last record": "s"},
)
REJECTED = Panel(
    10,
    "Rejected deliveries",
    "Deliveries to `ingest` that are not batches. They are stored with the reason and acknowledged, "
    "because a retry would not help.",
    "no rows.",
    Kind.TABLE,
    """
SELECT received, reason, octet_length(body) AS size FROM rejected_events
WHERE $__timeFilter(received) ORDER BY received DESC LIMIT 10""",
    "none",
    info(),
    width=8,
    units={"size": "bytes"},
    no_rows="No delivery was rejected in this time range",
)

ROWS = (
    (RATE, SILENCE, LAG, REDELIVERED),
    (KINDS, LAGS),
    (BATCHES, REDELIVERED_OVER_TIME),
    (PARTITIONS, REJECTED),
)
