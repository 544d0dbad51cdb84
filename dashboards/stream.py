"""The stream: does every line arrive, and how soon?"""

from __future__ import annotations

from dashboards.panels import Kind, Panel, above, below, info

TITLE = "The stream"
QUESTION = "Does every line of the log arrive, once, and how soon?"

RATE = Panel(
    1,
    "Lines",
    "Lines a second that were written in the newest full minute.",
    "as many as the service logs; at its usual load about 1,500.",
    Kind.STAT,
    """
SELECT sum(records) / 60.0 AS records FROM deliveries_per_minute
WHERE time = (SELECT max(time) FROM deliveries_per_minute
              WHERE $__timeFilter(time) AND time < date_trunc('minute', $__timeTo()::timestamptz))""",
    "cps",
    above(0.1, 1),
    width=6,
    height=6,
    decimals=0,
    nothing="No line came in this time",
    runbook="stream-silent",
)
SILENCE = Panel(
    2,
    "Since the last line",
    "The time since a line was written last.",
    "a few seconds.",
    Kind.STAT,
    "SELECT extract(epoch FROM $__timeTo()::timestamptz - max(updated)) AS ago FROM written_offsets",
    "s",
    below(60, 300),
    width=6,
    height=6,
    decimals=0,
    nothing="No line was ever written",
    runbook="stream-silent",
)
LAG = Panel(
    3,
    "Longest on its way",
    "How old a line was at most when it was written, in the newest ten minutes of this time that had any.",
    "below five seconds.",
    Kind.STAT,
    """
SELECT max(lag_ms_max) AS lag FROM deliveries_per_minute
WHERE time > (SELECT max(time) FROM deliveries_per_minute WHERE $__timeFilter(time)) - INTERVAL '10 minutes'
  AND $__timeFilter(time)""",
    "ms",
    below(5_000, 60_000),
    width=6,
    height=6,
    runbook="lag",
)
AGAIN = Panel(
    4,
    "Delivered again",
    "The share of the lines that came though they were known: delivery is at least once, rows are written once.",
    "below 1 %; more means that batches are not acknowledged in time.",
    Kind.STAT,
    """
SELECT sum(redelivered)::float8 / nullif(sum(records), 0) AS redelivered FROM deliveries_per_minute WHERE $__timeFilter(time)""",
    "percentunit",
    below(0.01, 0.1),
    width=6,
    height=6,
    decimals=2,
)
KINDS = Panel(
    5,
    "Lines by kind",
    "Written lines by what they say, by their own time.",
    "follows the customers' day; no kind falls to nothing.",
    Kind.SERIES,
    """
SELECT $__timeGroupAlias(time,$__interval), replace(kind, '_', ' ') AS metric,
       sum(records) * 1000.0 / $__interval_ms AS records
FROM records_per_minute WHERE WHOLE_POINTS GROUP BY 1, kind ORDER BY 1""",
    "cps",
    info(),
    stacked=True,
    least=0,
    runbook="stream-silent",
)
LAGS = Panel(
    6,
    "Longest on its way, by partition",
    "From Kafka's time of a line to the moment that it was written.",
    "below five seconds in every partition.",
    Kind.SERIES,
    """
SELECT $__timeGroupAlias(time,$__interval), 'partition ' || partition AS metric, max(lag_ms_max) AS lag
FROM deliveries_per_minute WHERE lag_ms_max IS NOT NULL AND WHOLE_POINTS GROUP BY 1, partition ORDER BY 1""",
    "ms",
    below(5_000, 60_000),
    least=0,
    line=True,
    runbook="lag",
)
BATCHES = Panel(
    7,
    "Lines in a batch",
    "The mean and the largest batch of each point: under load they grow, which is how the bridge keeps up.",
    "the largest well below the most that a batch may hold, 10,000.",
    Kind.SERIES,
    """
SELECT $__timeGroupAlias(time,$__interval), sum(records)::float8 / nullif(sum(batches), 0) AS mean,
       max(batch_records_max) AS largest
FROM deliveries_per_minute WHERE WHOLE_POINTS GROUP BY 1 ORDER BY 1""",
    "short",
    below(8_000, 10_000),
    least=0,
    runbook="lag",
)
AGAIN_OVER_TIME = Panel(
    8,
    "Lines delivered again",
    "How many lines a second came though they were known.",
    "at zero, but for a moment after a restart.",
    Kind.SERIES,
    """
SELECT $__timeGroupAlias(time,$__interval), sum(redelivered) * 1000.0 / $__interval_ms AS redelivered
FROM deliveries_per_minute WHERE WHOLE_POINTS GROUP BY 1 ORDER BY 1""",
    "cps",
    info(),
    least=0,
)
PARTITIONS = Panel(
    9,
    "Partitions",
    "How far each partition of each topic has been written, and how long ago.",
    "all of a topic advance together.",
    Kind.TABLE,
    """
SELECT topic, partition, next_offset AS "next offset", watches, ratings, recommendation_requests AS requests,
       accounts, quarantine, extract(epoch FROM $__timeTo()::timestamptz - updated) AS "last line"
FROM written_offsets JOIN topics USING (topic_key) ORDER BY topic_key DESC, partition LIMIT 50""",
    "none",
    info(),
    width=14,
    nothing="No line was ever written",
    units={"last line": "s"},
)
REJECTED = Panel(
    10,
    "Events that were none of ours",
    "What reached `ingest` and is no batch: kept with the reason, and acknowledged, since no retry can mend it.",
    "nothing here.",
    Kind.TABLE,
    """
SELECT received, reason, octet_length(body) AS size FROM rejected_events
WHERE $__timeFilter(received) ORDER BY received DESC LIMIT 10""",
    "none",
    info(),
    width=10,
    units={"size": "bytes"},
    nothing="Nothing was rejected in this time",
)

ROWS = ((RATE, SILENCE, LAG, AGAIN), (KINDS, LAGS), (BATCHES, AGAIN_OVER_TIME), (PARTITIONS, REJECTED))
