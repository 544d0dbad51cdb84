"""Dashboard of data quality: validity and drift of the incoming data."""

from __future__ import annotations

from dashboards.panels import GREEN, RED, YELLOW, Kind, Panel, Tile, below, info, series_sql

TITLE = "Data quality"
QUESTION = "Are the incoming data valid, and do they still resemble the training data?"

_VERDICT_COLORS = {"good": GREEN, "warning": YELLOW, "bad": RED}
_TOO_FEW = "Too few data"

NOT_GOOD = Tile(
    1,
    "Checks that are not good",
    "Number of checks whose newest result is a warning or bad.",
    "zero.",
    Kind.STAT,
    """
SELECT count(*) FILTER (WHERE verdict = 'warning') AS warning, count(*) FILTER (WHERE verdict = 'bad') AS bad
FROM (SELECT DISTINCT ON (name) name, verdict FROM quality_checks
      WHERE $__timeFilter(time) ORDER BY name, time DESC) AS newest""",
    "none",
    below(1, 3),
    decimals=0,
)
QUARANTINE_RATE = Tile(
    2,
    "Quarantined records",
    "Fraction of records that could not be parsed.",
    "below 0.2 %; real logs have 0.04 to 0.11 %.",
    Kind.STAT,
    """
SELECT sum(records) FILTER (WHERE kind = 'quarantine')::float8 / nullif(sum(records), 0) AS quarantined
FROM records_per_minute WHERE $__timeFilter(time)""",
    "percentunit",
    below(0.002, 0.01),
    decimals=3,
    runbook="quarantine-burst",
)
DRIFT_NOW = Tile(
    3,
    "Strongest drift",
    "Largest population stability index (PSI) of the newest checks, compared with the training data.",
    "below 0.1; from 0.25 on the monitor requests a retraining.",
    Kind.STAT,
    """
SELECT max(value) AS "largest PSI"
FROM (SELECT DISTINCT ON (name) name, value FROM quality_checks
      WHERE name LIKE 'drift.%_psi' AND $__timeFilter(time) ORDER BY name, time DESC) AS newest""",
    "none",
    below(0.1, 0.25),
    decimals=3,
    no_rows=_TOO_FEW,
    runbook="drift",
)
MONITOR = Tile(
    4,
    "Time since the monitor ran",
    "Time since the newest run of the function that writes these tables.",
    "a few minutes.",
    Kind.STAT,
    """
SELECT extract(epoch FROM $__timeTo()::timestamptz - max(time)) AS ago FROM monitor_runs WHERE $__timeFilter(time)""",
    "s",
    below(900, 3_600),
    decimals=0,
    no_rows="The monitor has not run",
    runbook="monitor-silent",
)
CHECKS = Panel(
    5,
    "Newest result of each check",
    "Value, usual range and verdict.",
    "good in every row; a check with too few data has no verdict.",
    Kind.TABLE,
    """
SELECT DISTINCT ON (name) name AS check,
       CASE WHEN value IS NULL THEN 'too few data' ELSE verdict END AS verdict, value,
       usual_low AS "usual from", usual_high AS "to", unit, detail
FROM quality_checks WHERE $__timeFilter(time) ORDER BY name, time DESC""",
    "none",
    info(),
    width=24,
    height=11,
    decimals=4,
    value_colors=_VERDICT_COLORS,
    no_rows="No check has run in this time range",
)
DRIFT = Panel(
    6,
    "Drift of ratings, movies and activity",
    "Population stability index of each distribution, compared with the training data of the serving model.",
    "below 0.1.",
    Kind.SERIES,
    """
SELECT $__timeGroupAlias(time,$__interval), replace(replace(name, 'drift.', ''), '_psi', '') AS metric,
       max(value) AS psi
FROM quality_checks WHERE name LIKE 'drift.%_psi' AND value IS NOT NULL AND COMPLETE_POINTS
GROUP BY 1, name ORDER BY 1""",
    "none",
    below(0.1, 0.25),
    decimals=3,
    min_value=0,
    show_thresholds=True,
    no_rows=_TOO_FEW,
    runbook="drift",
)
QUARANTINE = Panel(
    7,
    "Quarantined records by category",
    "Records that could not be parsed, by their first invalid part.",
    "a few, of varying categories; a burst of one category means a change of the log's format.",
    Kind.SERIES,
    series_sql("sum(records) * 60000.0 / $__interval_ms AS records", "quarantine_per_minute WHERE", by="category"),
    "cpm",
    info(),
    stacked=True,
    min_value=0,
    no_rows="Every record could be parsed",
    runbook="quarantine-burst",
)
RATINGS = Panel(
    8,
    "Ratings by value",
    "Number of ratings of each value.",
    "the same shape from day to day.",
    Kind.BARS,
    """
SELECT (rating * rating_step())::text AS rating, count(*) AS ratings FROM ratings
WHERE $__timeFilter(time) GROUP BY ratings.rating ORDER BY ratings.rating""",
    "short",
    info(),
    width=8,
)
MEAN = Panel(
    9,
    "Mean rating",
    "Mean of the ratings at each point.",
    "constant; a jump means a change of the scale or of the users.",
    Kind.SERIES,
    series_sql(
        'sum(rating_sum)::float8 * rating_step() / nullif(sum(ratings), 0) AS "mean rating"', "ratings_per_minute WHERE"
    ),
    "none",
    info(),
    width=8,
    decimals=2,
)
RANGE = Panel(
    10,
    "Invalid values",
    "Fraction of rows with an invalid id, a rating off the scale, a minute beyond any movie, or a time in the future.",
    "zero.",
    Kind.SERIES,
    """
SELECT $__timeGroupAlias(time,$__interval), name AS metric, max(value) AS fraction
FROM quality_checks
WHERE (name LIKE 'range.%_rate' OR name LIKE 'schema.%_rate') AND value IS NOT NULL AND COMPLETE_POINTS
GROUP BY 1, name ORDER BY 1""",
    "percentunit",
    below(0.001, 0.01),
    width=8,
    min_value=0,
)
QUARANTINED = Panel(
    11,
    "Newest quarantined records",
    "Records as they arrived, with the reason. `marquee quarantine` shows and replays them.",
    "few, and none that should be valid.",
    Kind.TABLE,
    """
SELECT time, category, detail, left(encode(raw, 'escape'), 80) AS record
FROM quarantine WHERE $__timeFilter(time) ORDER BY time DESC LIMIT 12""",
    "none",
    info(),
    width=14,
    no_rows="Every record could be parsed",
    runbook="quarantine-burst",
)
REQUESTS = Panel(
    12,
    "Requested retrainings",
    "Requests by drift or the age of the model, and when a training run claimed them (no time: still open).",
    "each one claimed within minutes.",
    Kind.TABLE,
    """
SELECT time, check_name AS check, reason, claimed
FROM retrain_requests WHERE $__timeFilter(time) ORDER BY time DESC LIMIT 10""",
    "none",
    info(),
    width=10,
    no_rows="No retraining was requested in this time range",
    runbook="drift",
)

ROWS = (
    (NOT_GOOD, QUARANTINE_RATE, DRIFT_NOW, MONITOR),
    (CHECKS,),
    (DRIFT, QUARANTINE),
    (RATINGS, MEAN, RANGE),
    (QUARANTINED, REQUESTS),
)
