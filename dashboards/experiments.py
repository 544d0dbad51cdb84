"""Experiments and releases: which models serve, and which of them serves customers better?"""

from __future__ import annotations

from dashboards.panels import BLUE, GREEN, RED, YELLOW, Kind, Panel, below, info

TITLE = "Experiments and releases"
QUESTION = "Which models serve now, and which arm serves customers better?"

RELEASE = Panel(
    1,
    "Release",
    "The number of the release that gave the newest answer.",
    "the newest that was published, half a minute after it was.",
    Kind.STAT,
    "SELECT release FROM impressions WHERE $__timeFilter(time) ORDER BY time DESC LIMIT 1",
    "none",
    info(),
    width=6,
    height=6,
    decimals=0,
)
ARMS = Panel(
    2,
    "Arms that serve",
    "How many arms gave answers in the newest ten minutes: 1 without an experiment, 2 during one.",
    "as the release says.",
    Kind.STAT,
    """
SELECT count(DISTINCT arm) AS arms FROM impressions_per_minute
WHERE time > $__timeTo()::timestamptz - INTERVAL '10 minutes' AND $__timeFilter(time)""",
    "none",
    info(),
    width=6,
    height=6,
    decimals=0,
)
WATCHED = Panel(
    3,
    "Movies watched of those shown",
    "The share of the movies in the lists that were begun within the watch window after them.",
    "level or rising from release to release.",
    Kind.STAT,
    """
SELECT sum(watched)::float8 / nullif(sum(shown), 0) AS watched FROM impression_outcomes WHERE HOURS_OF_IT""",
    "percentunit",
    info(),
    width=6,
    height=6,
    decimals=2,
    nothing="No hour of lists is complete yet",
    runbook="canary-regressed",
)
FAILED = Panel(
    4,
    "Retrainings that failed",
    "Runs of retrain that came to no end of their own in this time; a refusal is no failure.",
    "none.",
    Kind.STAT,
    "SELECT count(*) AS failed FROM retrain_runs WHERE outcome = 'failed' AND $__timeFilter(started)",
    "none",
    below(1, 2),
    width=6,
    height=6,
    decimals=0,
    runbook="model-stale",
)
BY_ARM = Panel(
    5,
    "Answers by arm",
    "Of each arm and model version, as a rate.",
    "split as the weights of the release are.",
    Kind.SERIES,
    """
SELECT $__timeGroupAlias(time,$__interval), arm || ' ' || right(model_version, 8) AS metric,
       sum(impressions) * 1000.0 / $__interval_ms AS answers
FROM impressions_per_minute WHERE WHOLE_POINTS GROUP BY 1, arm, model_version ORDER BY 1""",
    "reqps",
    info(),
    stacked=True,
    least=0,
)
WATCH_RATE = Panel(
    6,
    "Movies watched of those shown, by arm",
    "By the hour in which the lists were served; the newest hours are complete only when their watch window is over.",
    "no arm lies below the others for long.",
    Kind.SERIES,
    """
SELECT time AS "time", arm AS metric, sum(watched)::float8 / nullif(sum(shown), 0) AS watched
FROM impression_outcomes WHERE HOURS_OF_IT GROUP BY time, arm ORDER BY time""",
    "percentunit",
    info(),
    decimals=2,
    least=0,
    nothing="No hour of lists is complete yet",
    runbook="canary-regressed",
)
# The interval is Wilson's, for a share, at 95 %.
OUTCOMES = Panel(
    7,
    "What became of the lists, by arm",
    "Movies shown, the share begun within the watch window with its 95 % interval (Wilson), minutes watched of each "
    "movie shown, and what those that were rated got.",
    "the intervals of a new arm do not lie below the old one's.",
    Kind.TABLE,
    """
SELECT arm, model_version AS version, shown, p AS watched,
       (p + 1.92 / shown - 1.96 * sqrt((p * (1 - p) + 0.96 / shown) / shown)) / (1 + 3.84 / shown) AS low,
       (p + 1.92 / shown + 1.96 * sqrt((p * (1 - p) + 0.96 / shown) / shown)) / (1 + 3.84 / shown) AS high,
       minutes / shown AS "minutes a movie", rated, rating_sum / nullif(rated, 0) AS "mean rating"
FROM (SELECT arm, model_version, sum(shown)::float8 AS shown, sum(watched)::float8 / nullif(sum(shown), 0) AS p,
             sum(minutes)::float8 AS minutes, sum(rated)::float8 AS rated, sum(rating_sum)::float8 AS rating_sum
      FROM impression_outcomes WHERE HOURS_OF_IT GROUP BY arm, model_version) AS arms
WHERE shown > 0 ORDER BY arm, version""",
    "short",
    info(),
    width=24,
    height=6,
    decimals=2,
    units={"watched": "percentunit", "low": "percentunit", "high": "percentunit"},
    nothing="No hour of lists is complete yet",
    runbook="canary-regressed",
)
POSITIONS = Panel(
    8,
    "Watched, by place in the list",
    "The share of the movies shown in each place that were begun.",
    "falls from the first place on: the order means something.",
    Kind.BARS,
    """
SELECT lpad(position::text, 2, ' ') AS place, sum(watched)::float8 / nullif(sum(shown), 0) AS watched
FROM impression_outcomes WHERE HOURS_OF_IT GROUP BY position ORDER BY position LIMIT 20""",
    "percentunit",
    info(),
    height=9,
    decimals=2,
    nothing="No hour of lists is complete yet",
)
ACCURACY = Panel(
    9,
    "Live accuracy by arm",
    "Newest window of each arm and version: RMSE with its 95 % interval, and MAE.",
    "the intervals of a new arm do not lie above the old one's.",
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
    nothing="No rating was predicted yet",
    runbook="canary-regressed",
)
RETRAININGS = Panel(
    10,
    "Releases and refusals",
    "Every run of retrain in this time, with what the gate said.",
    "released, or refused for a reason that makes sense.",
    Kind.TABLE,
    """
SELECT finished, coalesce(version, '-') AS version, outcome, reason
FROM retrain_runs WHERE $__timeFilter(started) ORDER BY started DESC LIMIT 15""",
    "none",
    info(),
    width=24,
    height=7,
    colours={"released": GREEN, "trained": BLUE, "held": YELLOW, "refused": YELLOW, "failed": RED},
    nothing="Nothing was trained in this time",
)

ROWS = (
    (RELEASE, ARMS, WATCHED, FAILED),
    (BY_ARM, WATCH_RATE),
    (OUTCOMES,),
    (POSITIONS, ACCURACY),
    (RETRAININGS,),
)
