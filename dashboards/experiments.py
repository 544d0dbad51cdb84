"""Dashboard of experiments and releases: arms and their results."""

from __future__ import annotations

from dashboards.panels import BLUE, GREEN, RED, YELLOW, Kind, Panel, Tile, below, info

TITLE = "Experiments and releases"
QUESTION = "Which models serve now, and which arm serves users better?"

_NO_OUTCOMES = "No hour of impressions is complete yet"

RELEASE = Tile(
    1,
    "Release",
    "Number of the release that served the newest recommendation.",
    "the newest published release, within half a minute.",
    Kind.STAT,
    "SELECT release FROM impressions WHERE $__timeFilter(time) ORDER BY time DESC LIMIT 1",
    "none",
    info(),
    decimals=0,
)
ARMS = Tile(
    2,
    "Serving arms",
    "Number of arms that served recommendations in the newest ten minutes.",
    "as in the release: 1 without an experiment, 2 or more during one.",
    Kind.STAT,
    """
SELECT count(DISTINCT arm) AS arms FROM impressions_per_minute
WHERE time > $__timeTo()::timestamptz - INTERVAL '10 minutes' AND $__timeFilter(time)""",
    "none",
    info(),
    decimals=0,
)
WATCHED = Tile(
    3,
    "Watch rate",
    "Fraction of recommended movies that the user started within the watch window.",
    "constant or rising from release to release.",
    Kind.STAT,
    """
SELECT sum(watched)::float8 / nullif(sum(shown), 0) AS watched FROM impression_outcomes WHERE HOURS_IN_RANGE""",
    "percentunit",
    info(),
    decimals=2,
    no_rows=_NO_OUTCOMES,
    runbook="canary-regressed",
)
FAILED = Tile(
    4,
    "Failed training runs",
    "Number of training runs that ended with an error. A refused model is not a failure.",
    "zero.",
    Kind.STAT,
    "SELECT count(*) AS failed FROM retrain_runs WHERE outcome = 'failed' AND $__timeFilter(started)",
    "none",
    below(1, 2),
    decimals=0,
    runbook="model-stale",
)
BY_ARM = Panel(
    5,
    "Recommendations by arm",
    "Rate of recommendations of each arm and model version.",
    "split like the weights of the release.",
    Kind.SERIES,
    """
SELECT $__timeGroupAlias(time,$__interval), arm || ' ' || right(model_version, 8) AS metric,
       sum(impressions) * 1000.0 / $__interval_ms AS recommendations
FROM impressions_per_minute WHERE COMPLETE_POINTS GROUP BY 1, arm, model_version ORDER BY 1""",
    "reqps",
    info(),
    stacked=True,
    min_value=0,
)
WATCH_RATE = Panel(
    6,
    "Watch rate by arm",
    "Watch rate by the hour of the impression. The newest hours are complete once their watch window has ended.",
    "no arm stays below the others.",
    Kind.SERIES,
    """
SELECT time AS "time", arm AS metric, sum(watched)::float8 / nullif(sum(shown), 0) AS watched
FROM impression_outcomes WHERE HOURS_IN_RANGE GROUP BY time, arm ORDER BY time""",
    "percentunit",
    info(),
    decimals=2,
    min_value=0,
    no_rows=_NO_OUTCOMES,
    runbook="canary-regressed",
)
# Wilson score interval of a proportion, at 95 %.
OUTCOMES = Panel(
    7,
    "Impression outcomes by arm",
    "Recommended movies, the watch rate with its 95 % interval (Wilson), minutes watched per recommended movie, and "
    "the ratings of recommended movies.",
    "the interval of a new arm is not below that of control.",
    Kind.TABLE,
    """
SELECT arm, model_version AS version, shown, p AS watched,
       (p + 1.92 / shown - 1.96 * sqrt((p * (1 - p) + 0.96 / shown) / shown)) / (1 + 3.84 / shown) AS low,
       (p + 1.92 / shown + 1.96 * sqrt((p * (1 - p) + 0.96 / shown) / shown)) / (1 + 3.84 / shown) AS high,
       minutes / shown AS "minutes a movie", rated, rating_sum / nullif(rated, 0) AS "mean rating"
FROM (SELECT arm, model_version, sum(shown)::float8 AS shown, sum(watched)::float8 / nullif(sum(shown), 0) AS p,
             sum(minutes)::float8 AS minutes, sum(rated)::float8 AS rated, sum(rating_sum)::float8 AS rating_sum
      FROM impression_outcomes WHERE HOURS_IN_RANGE GROUP BY arm, model_version) AS arms
WHERE shown > 0 ORDER BY arm, version""",
    "short",
    info(),
    width=24,
    height=6,
    decimals=2,
    units={"watched": "percentunit", "low": "percentunit", "high": "percentunit"},
    no_rows=_NO_OUTCOMES,
    runbook="canary-regressed",
)
POSITIONS = Panel(
    8,
    "Watch rate by position",
    "Fraction of movies at each position of a recommendation that the user started.",
    "once each position was shown about a thousand times, falls from the first position on: the order is useful.",
    Kind.BARS,
    """
SELECT lpad(position::text, 2, ' ') AS position, sum(watched)::float8 / nullif(sum(shown), 0) AS watched
FROM impression_outcomes AS outcomes WHERE HOURS_IN_RANGE
GROUP BY outcomes.position ORDER BY outcomes.position LIMIT 20""",
    "percentunit",
    info(),
    height=9,
    decimals=2,
    no_rows=_NO_OUTCOMES,
)
ACCURACY = Panel(
    9,
    "Live accuracy by arm",
    "Newest window of each arm and version: RMSE with its 95 % interval, and MAE.",
    "the interval of a new arm is not above that of control.",
    Kind.TABLE,
    """
SELECT DISTINCT ON (arm, model_version) arm, model_version AS version, ratings, rmse, rmse_low AS low,
       rmse_high AS high, mae, window_s AS "window"
FROM live_accuracy WHERE arm <> '' AND model_version <> '' AND $__timeFilter(time)
ORDER BY arm, model_version, window_s DESC, time DESC""",
    "none",
    info(),
    height=9,
    decimals=3,
    units={"window": "s", "ratings": "short"},
    no_rows="No prediction was evaluated yet",
    runbook="canary-regressed",
)
RETRAIN_RUNS = Panel(
    10,
    "Releases and refusals",
    "Training runs in this time range, with the result of the gate.",
    "released, or refused for a plausible reason.",
    Kind.TABLE,
    """
SELECT finished, coalesce(version, '-') AS version, outcome, reason
FROM retrain_runs WHERE $__timeFilter(started) ORDER BY started DESC LIMIT 15""",
    "none",
    info(),
    width=24,
    height=7,
    value_colors={"released": GREEN, "trained": BLUE, "held": YELLOW, "refused": YELLOW, "failed": RED},
    no_rows="No model was trained in this time range",
)

ROWS = (
    (RELEASE, ARMS, WATCHED, FAILED),
    (BY_ARM, WATCH_RATE),
    (OUTCOMES,),
    (POSITIONS, ACCURACY),
    (RETRAIN_RUNS,),
)
