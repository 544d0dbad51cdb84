"""Dashboard of fairness: gaps between groups of users, and exposure of movies, by release and arm."""

from __future__ import annotations

from dashboards.panels import Kind, Panel, Tile, below, info

TITLE = "Fairness"
QUESTION = "Are some users or movies served worse than others, and worse than by the release before?"

_NO_ROWS = "Nothing was measured yet: the first rows come at a full hour with enough users"
# The newest day of each release, arm and version in the time range.
_NEWEST = """
FROM (SELECT DISTINCT ON (release, arm, model_version, metric, kind, group_name) * FROM live_fairness
      WHERE HOURS_IN_RANGE ORDER BY release, arm, model_version, metric, kind, group_name, time DESC) AS newest"""
_SERVING = "release = (SELECT max(release) FROM live_fairness WHERE HOURS_IN_RANGE)"

GAP = Tile(
    1,
    "Largest gap of RMSE",
    "Difference of live RMSE between the worst and the best group of at least 20 users, of the kind (activity, gender, "
    "age) where it is largest, over a day of the newest release, with its 95 % interval.",
    "not above the gap of the release before.",
    Kind.STAT,
    f"SELECT low, value AS gap, high {_NEWEST} WHERE metric = 'rmse_gap' AND {_SERVING} ORDER BY value DESC LIMIT 1",
    "none",
    below(0.3, 0.5),
    width=8,
    decimals=3,
    no_rows=_NO_ROWS,
    runbook="fairness-worse",
)
GINI = Tile(
    2,
    "Gini of exposure",
    "Inequality of the exposure of all movies in ten positions, over a day of the newest release: 0 if equal, near 1 "
    "if a few movies have all.",
    "not above that of the release before.",
    Kind.STAT,
    f"""
SELECT low, value AS gini, high {_NEWEST} WHERE metric = 'exposure_gini' AND {_SERVING} ORDER BY users DESC LIMIT 1""",
    "none",
    below(0.97, 0.99),
    width=8,
    decimals=3,
    no_rows=_NO_ROWS,
    runbook="fairness-worse",
)
TAIL = Tile(
    3,
    "Exposure of the tail",
    "Share of exposure of the least popular movies that together have a fifth of the popularity.",
    "constant or rising from release to release; proportional exposure is 20 %.",
    Kind.STAT,
    f"""
SELECT value AS tail {_NEWEST}
WHERE metric = 'exposure_share' AND kind = 'popularity' AND group_name = 'tail' AND {_SERVING}
ORDER BY users DESC LIMIT 1""",
    "percentunit",
    info(),
    width=8,
    decimals=1,
    no_rows=_NO_ROWS,
)
GAP_OVER_TIME = Panel(
    4,
    "Gap of RMSE over time",
    "Gap of the day before each point, by release, arm and kind of group.",
    "a new release is not above the one before it.",
    Kind.SERIES,
    """
SELECT time AS "time", 'release ' || release || ' ' || arm || ', ' || kind AS metric, value AS gap
FROM live_fairness WHERE metric = 'rmse_gap' AND HOURS_IN_RANGE ORDER BY time, release, arm, kind""",
    "none",
    below(0.3, 0.5),
    decimals=3,
    min_value=0,
    no_rows=_NO_ROWS,
    runbook="fairness-worse",
)
NDCG_GAP = Panel(
    10,
    "Gap of NDCG over time",
    "Gap of the NDCG@10 of users' first lists between groups, over the day before each point, by release, arm and kind "
    "of group, with its 95 % interval.",
    "a new release is not above the one before it.",
    Kind.SERIES,
    """
SELECT time AS "time", 'release ' || release || ' ' || arm || ', ' || kind AS metric, low, value AS gap, high
FROM live_fairness WHERE metric = 'ndcg_gap' AND HOURS_IN_RANGE ORDER BY time, release, arm, kind""",
    "none",
    below(0.2, 0.4),
    width=24,
    decimals=3,
    min_value=0,
    no_rows=_NO_ROWS,
    runbook="fairness-worse",
)
GINI_OVER_TIME = Panel(
    5,
    "Gini of exposure over time",
    "Gini coefficient of exposure of the day before each point, by release and arm.",
    "a new release is not above the one before it. With fewer users it is higher.",
    Kind.SERIES,
    """
SELECT time AS "time", 'release ' || release || ' ' || arm AS metric, value AS gini
FROM live_fairness WHERE metric = 'exposure_gini' AND HOURS_IN_RANGE ORDER BY time, release, arm""",
    "none",
    below(0.97, 0.99),
    decimals=3,
    no_rows=_NO_ROWS,
    runbook="fairness-worse",
)
GROUPS = Panel(
    6,
    "RMSE by group of users",
    "Newest day of each release and arm: live RMSE of each group of at least 20 users, with its 95 % interval.",
    "intervals of one kind overlap.",
    Kind.TABLE,
    f"""
SELECT release, arm, kind, group_name AS "group", users, value AS rmse, low, high {_NEWEST}
WHERE metric = 'rmse' AND kind <> '' ORDER BY release DESC, arm, kind, "group" LIMIT 200""",
    "none",
    info(),
    width=12,
    height=10,
    decimals=3,
    units={"users": "short"},
    no_rows=_NO_ROWS,
)
EXPOSURE = Panel(
    7,
    "Exposure by popularity",
    "Share of the exposure of movies from head to tail, newest release. Each of head and tail has a fifth of the "
    "popularity.",
    "the tail has a part.",
    Kind.BARS,
    f"""
SELECT group_name AS "group", sum(value * users) / sum(users) AS exposure {_NEWEST}
WHERE metric = 'exposure_share' AND kind = 'popularity' AND {_SERVING} GROUP BY 1 ORDER BY 2 DESC""",
    "percentunit",
    info(),
    width=12,
    height=10,
    decimals=1,
    min_value=0,
    no_rows=_NO_ROWS,
)
HISTORY = Panel(
    8,
    "History by release",
    "Newest day of each release and arm: gaps of RMSE and NDCG by kind, Gini of exposure, and exposure of the tail, "
    "each with its 95 % interval.",
    "no release is worse than the one before it beyond the intervals.",
    Kind.TABLE,
    f"""
SELECT release, arm, model_version AS version, metric || CASE kind WHEN '' THEN '' ELSE ', ' || kind END
       || CASE group_name WHEN '' THEN '' ELSE ', ' || group_name END AS metric, users, value, low, high,
       time AS "day to"
{_NEWEST} WHERE metric IN ('rmse_gap', 'ndcg_gap', 'exposure_gini', 'exposure_top') OR group_name = 'tail'
ORDER BY release DESC, arm, metric LIMIT 200""",
    "none",
    info(),
    width=24,
    height=9,
    decimals=3,
    units={"users": "short"},
    no_rows=_NO_ROWS,
    runbook="fairness-worse",
)

CONCENTRATION = Panel(
    9,
    "Exposure of the top 1 %",
    "Share of the exposure that the most exposed hundredth of the movies has, over the day before each point, by "
    "release and arm, with its 95 % interval.",
    "no steady rise: a rise from day to day is a feedback loop.",
    Kind.SERIES,
    """
SELECT time AS "time", 'release ' || release || ' ' || arm AS metric, low, value AS share, high
FROM live_fairness WHERE metric = 'exposure_top' AND HOURS_IN_RANGE ORDER BY time, release, arm""",
    "percentunit",
    below(0.3, 0.5),
    width=24,
    decimals=1,
    no_rows=_NO_ROWS,
    runbook="concentration",
)

ROWS = (
    (GAP, GINI, TAIL),
    (GAP_OVER_TIME, GINI_OVER_TIME),
    (NDCG_GAP,),
    (CONCENTRATION,),
    (GROUPS, EXPOSURE),
    (HISTORY,),
)
