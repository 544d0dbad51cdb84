"""Data quality: can what comes in be learnt from?"""

from __future__ import annotations

from dashboards.panels import GREEN, RED, YELLOW, Kind, Panel, below, info

TITLE = "Data quality"
QUESTION = "Can what comes in be trusted, and does it still look like what the model has learnt from?"

_VERDICTS = {"good": GREEN, "warning": YELLOW, "bad": RED}

NOT_GOOD = Panel(
    1,
    "Checks that are not good",
    "Of the newest result of each check of the data.",
    "none.",
    Kind.STAT,
    """
SELECT count(*) FILTER (WHERE verdict = 'warning') AS warning, count(*) FILTER (WHERE verdict = 'bad') AS bad
FROM (SELECT DISTINCT ON (name) name, verdict FROM quality_checks
      WHERE $__timeFilter(time) ORDER BY name, time DESC) AS newest""",
    "none",
    below(1, 3),
    width=6,
    height=6,
    decimals=0,
)
QUARANTINE_RATE = Panel(
    2,
    "Lines in quarantine",
    "The share of all lines that could not be read.",
    "below 0.2 %; real logs had 0.04 to 0.11 %.",
    Kind.STAT,
    """
SELECT sum(records) FILTER (WHERE kind = 'quarantine')::float8 / nullif(sum(records), 0) AS quarantined
FROM records_per_minute WHERE $__timeFilter(time)""",
    "percentunit",
    below(0.002, 0.01),
    width=6,
    height=6,
    decimals=3,
    runbook="quarantine-burst",
)
DRIFT_NOW = Panel(
    3,
    "Strongest drift",
    "The largest population stability index of the newest checks, against what the serving model was trained on.",
    "below 0.1; from 0.25 on the data are another population, and a retraining is asked for.",
    Kind.STAT,
    """
SELECT max(value) AS "largest PSI"
FROM (SELECT DISTINCT ON (name) name, value FROM quality_checks
      WHERE name LIKE 'drift.%_psi' AND $__timeFilter(time) ORDER BY name, time DESC) AS newest""",
    "none",
    below(0.1, 0.25),
    width=6,
    height=6,
    decimals=3,
    nothing="Too little to tell yet",
    runbook="drift",
)
MONITOR = Panel(
    4,
    "Since the monitor ran",
    "The time since the newest run of the function that fills these tables.",
    "a few minutes.",
    Kind.STAT,
    """
SELECT extract(epoch FROM $__timeTo()::timestamptz - max(time)) AS ago FROM monitor_runs WHERE $__timeFilter(time)""",
    "s",
    below(900, 3_600),
    width=6,
    height=6,
    decimals=0,
    nothing="The monitor has not run",
    runbook="monitor-silent",
)
CHECKS = Panel(
    5,
    "Newest result of each check",
    "What was measured, what is usual, and the verdict.",
    "good in every line.",
    Kind.TABLE,
    """
SELECT DISTINCT ON (name) name AS check, verdict, value, usual_low AS "usual from", usual_high AS "to", unit, detail
FROM quality_checks WHERE $__timeFilter(time) ORDER BY name, time DESC""",
    "none",
    info(),
    width=24,
    height=11,
    decimals=4,
    colours=_VERDICTS,
    nothing="No check has run in this time",
)
DRIFT = Panel(
    6,
    "Drift of ratings, movies and activity",
    "Population stability index of each distribution against what the serving model was trained on.",
    "below 0.1.",
    Kind.SERIES,
    """
SELECT $__timeGroupAlias(time,$__interval), replace(replace(name, 'drift.', ''), '_psi', '') AS metric,
       max(value) AS psi
FROM quality_checks WHERE name LIKE 'drift.%_psi' AND value IS NOT NULL AND WHOLE_POINTS
GROUP BY 1, name ORDER BY 1""",
    "none",
    below(0.1, 0.25),
    decimals=3,
    least=0,
    line=True,
    nothing="Too little to tell yet",
    runbook="drift",
)
QUARANTINE = Panel(
    7,
    "Quarantined lines by category",
    "Lines that could not be read, by the first part that was not as it should be.",
    "a few, of changing categories; a burst of one is a change of the log's format.",
    Kind.SERIES,
    """
SELECT $__timeGroupAlias(time,$__interval), category AS metric, sum(records) * 60000.0 / $__interval_ms AS records
FROM quarantine_per_minute WHERE WHOLE_POINTS GROUP BY 1, category ORDER BY 1""",
    "cpm",
    info(),
    stacked=True,
    least=0,
    nothing="Every line could be read",
    runbook="quarantine-burst",
)
RATINGS = Panel(
    8,
    "Ratings by value",
    "How often each value was given.",
    "the shape stays as it is from day to day.",
    Kind.BARS,
    """
SELECT rating::text AS rating, count(*) AS ratings FROM ratings
WHERE $__timeFilter(time) GROUP BY ratings.rating ORDER BY ratings.rating""",
    "short",
    info(),
    width=8,
)
MEAN = Panel(
    9,
    "Mean rating",
    "Of the ratings of each point.",
    "level: a jump is a change of the scale or of the customers.",
    Kind.SERIES,
    """
SELECT $__timeGroupAlias(time,$__interval), sum(rating_sum)::float8 / nullif(sum(ratings), 0) AS "mean rating"
FROM ratings_per_minute WHERE WHOLE_POINTS GROUP BY 1 ORDER BY 1""",
    "none",
    info(),
    width=8,
    decimals=2,
)
RANGE = Panel(
    10,
    "Rows outside what is possible",
    "The share of rows with an id of another form, a rating off the scale, a minute beyond any movie, a time to come.",
    "zero.",
    Kind.SERIES,
    """
SELECT $__timeGroupAlias(time,$__interval), name AS metric, max(value) AS share
FROM quality_checks
WHERE (name LIKE 'range.%_rate' OR name LIKE 'schema.%_rate') AND value IS NOT NULL AND WHOLE_POINTS
GROUP BY 1, name ORDER BY 1""",
    "percentunit",
    below(0.001, 0.01),
    width=8,
    least=0,
)
LINES = Panel(
    11,
    "Newest lines in quarantine",
    "As they came, with what is wrong about them; `marquee quarantine` shows and replays them.",
    "few, and none of a kind that should be read.",
    Kind.TABLE,
    """
SELECT time, category, detail, left(encode(raw, 'escape'), 80) AS line
FROM quarantine WHERE $__timeFilter(time) ORDER BY time DESC LIMIT 12""",
    "none",
    info(),
    width=14,
    nothing="Every line could be read",
    runbook="quarantine-burst",
)
REQUESTS = Panel(
    12,
    "Retrainings that were asked for",
    "By drift, or by what else the monitor found; and the run that took it up.",
    "each taken up within minutes.",
    Kind.TABLE,
    """
SELECT time, check_name AS check, reason, coalesce(to_char(claimed, 'HH24:MI:SS'), 'waits') AS claimed
FROM retrain_requests WHERE $__timeFilter(time) ORDER BY time DESC LIMIT 10""",
    "none",
    info(),
    width=10,
    nothing="No retraining was asked for in this time",
    runbook="drift",
)

ROWS = (
    (NOT_GOOD, QUARANTINE_RATE, DRIFT_NOW, MONITOR),
    (CHECKS,),
    (DRIFT, QUARANTINE),
    (RATINGS, MEAN, RANGE),
    (LINES, REQUESTS),
)
