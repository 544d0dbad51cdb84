"""Dashboard of model quality: accuracy of the live predictions."""

from __future__ import annotations

from dashboards.panels import BLUE, GREEN, RED, YELLOW, Kind, Panel, Tile, above, below, info, series_sql

TITLE = "Model quality"
QUESTION = "Are live predictions as accurate as the evaluation before the release?"

_NO_PREDICTIONS = "No prediction was evaluated yet"
_NO_POINTS = "No prediction was evaluated in a whole interval of the chart yet"
# Windows of five minutes, or of an hour for long time ranges.
_WINDOWS = "window_s = CASE WHEN $__interval_ms < 300000 THEN 300 ELSE 3600 END AND"
# The newest window of the charts below, so that tiles and charts agree.
_NEWEST = f"""
FROM live_accuracy WHERE arm = '' AND model_version = '' AND {_WINDOWS} $__timeFilter(time)
ORDER BY time DESC LIMIT 1"""


RMSE = Tile(
    1,
    "Live RMSE",
    "Root mean square error of predictions made before the rating (prequential), in the newest window of the chart "
    "below, with its 95 % interval.",
    "not above the offline RMSE of the release, about 1.0 on a scale of 5.",
    Kind.STAT,
    f"SELECT rmse_low AS low, rmse, rmse_high AS high {_NEWEST}",
    "none",
    below(1.05, 1.2),
    width=8,
    decimals=3,
    no_rows=_NO_PREDICTIONS,
    runbook="live-rmse",
)
COVERAGE = Tile(
    2,
    "Coverage of prediction intervals",
    "Fraction of ratings within their prediction interval, beside the nominal coverage.",
    "close to the nominal coverage, 0.8.",
    Kind.STAT,
    f"SELECT observed_coverage AS observed, nominal_coverage AS nominal {_NEWEST}",
    "percentunit",
    ((None, RED), (0.65, YELLOW), (0.75, GREEN), (0.9, YELLOW)),
    decimals=1,
    no_rows=_NO_PREDICTIONS,
)
PREDICTED = Tile(
    3,
    "Ratings with a prediction",
    "Fraction of ratings for which a prediction existed before the rating.",
    "90 % or more; the others are for movies that the model does not know yet.",
    Kind.STAT,
    """
SELECT count(predicted)::float8 / nullif(count(*), 0) AS predicted FROM predictions WHERE $__timeFilter(time)""",
    "percentunit",
    above(0.5, 0.9),
    width=5,
    decimals=1,
)
AGE = Tile(
    4,
    "Age of the model",
    "Age of the oldest rating that the serving model was not trained on.",
    "less than a day and a half, 1.5 times the training interval.",
    Kind.STAT,
    """
SELECT value * 3600 AS age FROM quality_checks
WHERE name = 'model.age_h' AND $__timeFilter(time) ORDER BY time DESC LIMIT 1""",
    "s",
    below(129_600, 259_200),
    width=5,
    no_rows="No check has run yet",
    runbook="model-stale",
)
RMSE_OVER_TIME = Panel(
    5,
    "Live RMSE over time",
    "RMSE over the five minutes before each point (long time ranges: the hour), with the 95 % interval of a bootstrap "
    "over users.",
    "constant, with an interval that reaches below the offline RMSE.",
    Kind.SERIES,
    series_sql(
        "avg(rmse) AS rmse, avg(rmse_low) AS low, avg(rmse_high) AS high",
        f"live_accuracy WHERE arm = '' AND model_version = '' AND {_WINDOWS}",
    ),
    "none",
    below(1.05, 1.2),
    decimals=3,
    show_thresholds=True,
    series_colors={"rmse": BLUE, "low": "#8b93a7", "high": "#8b93a7"},
    no_rows=_NO_POINTS,
    runbook="live-rmse",
)
BY_VERSION = Panel(
    6,
    "Live RMSE by model version",
    "RMSE of each version that served, in windows with at least 30 of its ratings.",
    "a new version is not above the one before it.",
    Kind.SERIES,
    series_sql(
        "avg(rmse) AS rmse",
        f"live_accuracy WHERE arm = '' AND model_version <> '' AND ratings >= 30 AND {_WINDOWS}",
        by="model_version",
    ),
    "none",
    below(1.05, 1.2),
    decimals=3,
    no_rows=_NO_POINTS,
    runbook="live-rmse",
)
BY_TIER = Panel(
    7,
    "RMSE by tier",
    "RMSE by the tier of the recommendation.",
    "personalised is the lowest.",
    Kind.BARS,
    """
SELECT CASE tier WHEN '' THEN 'computed later' ELSE tier END AS tier,
       sqrt(avg((predicted - rating * rating_step()) ^ 2)) AS rmse
FROM predictions WHERE predicted IS NOT NULL AND $__timeFilter(time) GROUP BY 1 ORDER BY rmse DESC""",
    "none",
    below(1.05, 1.2),
    width=8,
    decimals=3,
    min_value=0,
)
BIAS = Panel(
    8,
    "Mean error by rating",
    "Predicted minus given rating. Shrinkage towards the mean makes low ratings too high and high ratings too low.",
    "no bar longer than two and a half points.",
    Kind.BARS,
    """
SELECT (rating * rating_step())::text || ' given' AS rating, avg(predicted - rating * rating_step()) AS error
FROM predictions WHERE predicted IS NOT NULL AND $__timeFilter(time) GROUP BY predictions.rating ORDER BY 1""",
    "none",
    info(),
    width=8,
    decimals=2,
)
UNPREDICTED = Panel(
    9,
    "Ratings without a prediction",
    "Number of ratings without a prediction, by reason.",
    "only unknown movies, and few of them.",
    Kind.BARS,
    """
SELECT reason, count(*) AS ratings FROM predictions
WHERE predicted IS NULL AND $__timeFilter(time) GROUP BY reason ORDER BY ratings DESC LIMIT 10""",
    "short",
    info(),
    width=8,
    no_rows="Every rating had a prediction",
)
COVERAGE_OVER_TIME = Panel(
    10,
    "Coverage over time",
    "Observed and nominal coverage of prediction intervals, over the five minutes before each point (long time ranges: "
    "the hour).",
    "both lines are close together.",
    Kind.SERIES,
    series_sql(
        "avg(observed_coverage) AS observed, avg(nominal_coverage) AS nominal",
        f"live_accuracy WHERE arm = '' AND model_version = '' AND {_WINDOWS}",
    ),
    "percentunit",
    info(),
    width=9,
    decimals=1,
    no_rows=_NO_POINTS,
)
RETRAIN_RUNS = Panel(
    11,
    "Newest training runs",
    "Training runs with their metrics on the temporal holdout, and their outcome.",
    "released, or refused for a plausible reason.",
    Kind.TABLE,
    """
SELECT started, extract(epoch FROM finished - started) AS duration, coalesce(version, '-') AS version, outcome,
       (metrics ->> 'rmse')::float8 AS rmse, (metrics ->> 'ndcg@10')::float8 AS "NDCG@10", reason
FROM retrain_runs ORDER BY started DESC LIMIT 8""",
    "none",
    info(),
    width=15,
    decimals=3,
    units={"duration": "s"},
    value_colors={"released": GREEN, "trained": BLUE, "held": YELLOW, "refused": YELLOW, "failed": RED},
    no_rows="No model was trained yet",
)

ROWS = (
    (RMSE, COVERAGE, PREDICTED, AGE),
    (RMSE_OVER_TIME, BY_VERSION),
    (BY_TIER, BIAS, UNPREDICTED),
    (COVERAGE_OVER_TIME, RETRAIN_RUNS),
)
