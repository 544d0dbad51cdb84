"""Model quality: are the predictions as good as the evaluation promised?"""

from __future__ import annotations

from dashboards.panels import BLUE, GREEN, RED, YELLOW, Kind, Panel, above, below, info

TITLE = "Model quality"
QUESTION = "Are live predictions as good as the evaluation before the release promised?"

# The longest window that has ended in this time: an hour after the start that is a day's.
_NEWEST = """
FROM live_accuracy WHERE arm = '' AND model_version = '' AND $__timeFilter(time)
ORDER BY window_s DESC, time DESC LIMIT 1"""

RMSE = Panel(
    1,
    "Live RMSE",
    "Root mean square error of the ratings that came in, predicted before they did; of the longest window there is, "
    "up to a day, with its 95 % interval.",
    "not above the offline figure of the release, about 1.0 on a scale of 5.",
    Kind.STAT,
    f"SELECT rmse_low AS low, rmse, rmse_high AS high {_NEWEST}",
    "none",
    below(1.05, 1.2),
    width=8,
    height=6,
    decimals=3,
    nothing="No rating was predicted yet",
    runbook="live-rmse",
)
COVERAGE = Panel(
    2,
    "Prediction intervals hold",
    "The share of ratings within the interval that was given with the prediction.",
    "close to what the intervals promise, 0.8.",
    Kind.STAT,
    f"SELECT observed_coverage AS covered, nominal_coverage AS promised {_NEWEST}",
    "percentunit",
    ((None, RED), (0.65, YELLOW), (0.75, GREEN), (0.9, YELLOW)),
    width=6,
    height=6,
    decimals=1,
    nothing="No rating was predicted yet",
)
PREDICTED = Panel(
    3,
    "Ratings with a prediction",
    "The share of the ratings for which something had been predicted before they came.",
    "90 % and more; the others are of movies that the model does not know yet.",
    Kind.STAT,
    """
SELECT count(predicted)::float8 / nullif(count(*), 0) AS predicted FROM predictions WHERE $__timeFilter(time)""",
    "percentunit",
    above(0.5, 0.9),
    width=5,
    height=6,
    decimals=1,
)
AGE = Panel(
    4,
    "Age of the model",
    "The time since the newest event that the serving model has learnt from.",
    "less than a day and a half, the schedule's interval and a half.",
    Kind.STAT,
    """
SELECT value * 3600 AS age FROM quality_checks
WHERE name = 'model.age_h' AND $__timeFilter(time) ORDER BY time DESC LIMIT 1""",
    "s",
    below(129_600, 259_200),
    width=5,
    height=6,
    nothing="No check yet",
    runbook="model-stale",
)
RMSE_OVER_TIME = Panel(
    5,
    "Live RMSE over time",
    "Over the five minutes before each point, in longer times over the hour; with the 95 % interval of a bootstrap "
    "over users.",
    "level, and its interval reaches below the offline figure.",
    Kind.SERIES,
    """
SELECT $__timeGroupAlias(time,$__interval), avg(rmse) AS rmse, avg(rmse_low) AS low, avg(rmse_high) AS high
FROM live_accuracy WHERE arm = '' AND model_version = ''
  AND window_s = CASE WHEN $__interval_ms < 300000 THEN 300 ELSE 3600 END AND WHOLE_POINTS
GROUP BY 1 ORDER BY 1""",
    "none",
    below(1.05, 1.2),
    decimals=3,
    line=True,
    series={"rmse": BLUE, "low": "#8b93a7", "high": "#8b93a7"},
    nothing="No rating was predicted yet",
    runbook="live-rmse",
)
BY_VERSION = Panel(
    6,
    "Live RMSE by model version",
    "The same for each version that served.",
    "a new version is not above the one before it.",
    Kind.SERIES,
    """
SELECT $__timeGroupAlias(time,$__interval), model_version AS metric, avg(rmse) AS rmse
FROM live_accuracy WHERE arm = '' AND model_version <> ''
  AND window_s = CASE WHEN $__interval_ms < 300000 THEN 300 ELSE 3600 END AND WHOLE_POINTS
GROUP BY 1, model_version ORDER BY 1""",
    "none",
    below(1.05, 1.2),
    decimals=3,
    nothing="No rating was predicted yet",
    runbook="live-rmse",
)
BY_TIER = Panel(
    7,
    "RMSE by tier",
    "How far predictions are off, by how well the model knew the user.",
    "personalised is the lowest.",
    Kind.BARS,
    """
SELECT CASE tier WHEN '' THEN 'computed later' ELSE tier END AS tier, sqrt(avg((predicted - rating) ^ 2)) AS rmse
FROM predictions WHERE predicted IS NOT NULL AND $__timeFilter(time) GROUP BY 1 ORDER BY rmse DESC""",
    "none",
    below(1.05, 1.2),
    width=8,
    decimals=3,
    least=0,
)
BIAS = Panel(
    8,
    "Mean error by rating",
    "Predicted less given, in points. Every model that shrinks towards the mean is too high below and too low above.",
    "no bar longer than two and a half points.",
    Kind.BARS,
    """
SELECT rating::text || ' given' AS rating, avg(predicted - rating) AS error
FROM predictions WHERE predicted IS NOT NULL AND $__timeFilter(time) GROUP BY predictions.rating ORDER BY 1""",
    "none",
    info(),
    width=8,
    decimals=2,
)
UNPREDICTED = Panel(
    9,
    "Why nothing was predicted",
    "Ratings that no prediction could be made for, by the reason.",
    "unknown movies alone, and few of them.",
    Kind.BARS,
    """
SELECT reason, count(*) AS ratings FROM predictions
WHERE predicted IS NULL AND $__timeFilter(time) GROUP BY reason ORDER BY ratings DESC LIMIT 10""",
    "short",
    info(),
    width=8,
    nothing="Every rating was predicted",
)
COVERAGE_OVER_TIME = Panel(
    10,
    "Intervals: covered and promised",
    "The share of ratings within their prediction intervals, over the five minutes before each point, in longer times "
    "over the hour.",
    "the two lines lie together.",
    Kind.SERIES,
    """
SELECT $__timeGroupAlias(time,$__interval), avg(observed_coverage) AS covered, avg(nominal_coverage) AS promised
FROM live_accuracy WHERE arm = '' AND model_version = ''
  AND window_s = CASE WHEN $__interval_ms < 300000 THEN 300 ELSE 3600 END AND WHOLE_POINTS
GROUP BY 1 ORDER BY 1""",
    "percentunit",
    info(),
    width=9,
    decimals=1,
    nothing="No rating was predicted yet",
)
RETRAININGS = Panel(
    11,
    "Newest retrain_runs",
    "What was trained, how it did on the newest slice of time, and what became of it.",
    "released, or refused for a reason that makes sense.",
    Kind.TABLE,
    """
SELECT started, extract(epoch FROM finished - started) AS took, coalesce(version, '-') AS version, outcome,
       (metrics ->> 'rmse')::float8 AS rmse, (metrics ->> 'ndcg@10')::float8 AS "NDCG@10", reason
FROM retrain_runs ORDER BY started DESC LIMIT 8""",
    "none",
    info(),
    width=15,
    decimals=3,
    units={"took": "s"},
    colours={"released": GREEN, "trained": BLUE, "held": YELLOW, "refused": YELLOW, "failed": RED},
    nothing="Nothing was trained yet",
)

ROWS = (
    (RMSE, COVERAGE, PREDICTED, AGE),
    (RMSE_OVER_TIME, BY_VERSION),
    (BY_TIER, BIAS, UNPREDICTED),
    (COVERAGE_OVER_TIME, RETRAININGS),
)
