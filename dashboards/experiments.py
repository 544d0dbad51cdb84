"""Dashboard of experiments and releases: the running experiment, its evidence and decisions, and the releases."""

from __future__ import annotations

from dashboards.panels import BLUE, GREEN, RED, YELLOW, Kind, Panel, Tile, below, info

TITLE = "Experiments and releases"
QUESTION = "Which models serve now, what is known of the new one, and what happens next?"

_NO_OUTCOMES = "No hour of impressions is complete yet"
_NO_EXPERIMENT = "No experiment ran in this time range"

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
HARM_NOW = Tile(
    11,
    "Evidence of harm",
    "Largest mean e-value of harm of an arm at the newest look. It holds however often anyone looks.",
    "below 1. At 20 the monitor rolls the experiment back.",
    Kind.STAT,
    "SELECT least(e, 1e6) AS e FROM experiment_decisions WHERE $__timeFilter(time) ORDER BY time DESC LIMIT 1",
    "none",
    below(1, 20),
    decimals=2,
    no_rows="No experiment",
    runbook="experiment-harmed",
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
    runbook="experiment-harmed",
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
    runbook="experiment-harmed",
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

SHARE = Panel(
    12,
    "Share of a new arm",
    "Share of the users that each new arm serves, at each look. Decisions other than to wait are marks of their name.",
    "grows step by step, as far as the harm that is not excluded allows.",
    Kind.SERIES,
    """
SELECT time AS "time", experiment AS metric, share FROM experiment_decisions WHERE $__timeFilter(time)
UNION ALL
SELECT time, action, share FROM experiment_decisions
WHERE $__timeFilter(time) AND action IN ('step', 'promote', 'end', 'back', 'hold')
ORDER BY 1""",
    "percentunit",
    info(),
    min_value=0,
    no_rows=_NO_EXPERIMENT,
    series_colors={"step": BLUE, "back": RED, "hold": YELLOW, "promote": GREEN},
)
ESTIMATES = Panel(
    13,
    "Metrics of the experiment",
    "Newest look: the estimate with its confidence sequence, the harm that is not excluded, and the margin. Users are "
    "the unit; the sequence holds at all looks at once.",
    "every guardrail is fine: the harm that is not excluded is below the margin.",
    Kind.TABLE,
    """
SELECT arm, metric, users0 + users1 AS users, value0 AS control, value1 AS "new", estimate, low, high,
       harm_high AS "harm up to", margin, e, verdict
FROM experiment_looks AS looks
WHERE (experiment, time) = (SELECT experiment, time FROM experiment_looks WHERE $__timeFilter(time)
                            ORDER BY time DESC LIMIT 1) AND verdict NOT IN ('differs', 'undecided')
ORDER BY looks.arm, looks.metric""",
    "none",
    info(),
    width=24,
    height=6,
    decimals=4,
    value_colors={"fine": GREEN, "better": GREEN, "open": BLUE, "silent": BLUE, "worse": RED},
    no_rows=_NO_EXPERIMENT,
    runbook="experiment-harmed",
)
SECONDARY = Panel(
    20,
    "Secondary metrics",
    "Newest look: metrics that decide nothing, with their confidence sequences and the e-values of a difference. Of "
    "those that e-BH selects (differs), at most 5 % are false on average.",
    "no harmful difference is selected.",
    Kind.TABLE,
    """
SELECT arm, metric, users0 + users1 AS users, value0 AS control, value1 AS "new", estimate, low, high,
       least(e, 1e6) AS e, verdict
FROM experiment_looks AS looks
WHERE (experiment, time) = (SELECT experiment, time FROM experiment_looks WHERE $__timeFilter(time)
                            ORDER BY time DESC LIMIT 1) AND verdict IN ('differs', 'undecided')
ORDER BY looks.arm, looks.metric""",
    "none",
    info(),
    width=24,
    height=6,
    decimals=4,
    value_colors={"differs": YELLOW, "undecided": BLUE},
    no_rows="No secondary metric was measured in this time range",
)
HARM = Panel(
    14,
    "Harm that is not excluded",
    "Upper bound of the harm of each metric, in margins.",
    "falls below 1. The next step needs it below 1 / its share.",
    Kind.SERIES,
    """
SELECT time AS "time", arm || ' ' || metric AS metric, least(greatest(harm_high / margin, 0), 1000) AS margins
FROM experiment_looks AS looks WHERE $__timeFilter(time) AND margin > 0 AND harm_high IS NOT NULL ORDER BY time""",
    "none",
    below(1, 50),
    decimals=2,
    min_value=0,
    no_rows=_NO_EXPERIMENT,
)
E_VALUES = Panel(
    15,
    "Evidence of harm by metric",
    "E-value of harm of each metric, and their mean, in powers of ten.",
    "below 1.3, which is an e-value of 20.",
    Kind.SERIES,
    """
SELECT time AS "time", arm || ' ' || metric AS metric, log(greatest(e, 0.01)) AS powers
FROM experiment_looks AS looks WHERE $__timeFilter(time) AND verdict NOT IN ('differs', 'undecided')
UNION ALL
SELECT time, 'mean', log(greatest(e, 0.01)) FROM experiment_decisions WHERE $__timeFilter(time) ORDER BY 1""",
    "none",
    below(0.5, 1.3),
    decimals=2,
    show_thresholds=True,
    no_rows=_NO_EXPERIMENT,
    runbook="experiment-harmed",
)
SEQUENCES = Panel(
    16,
    "Estimates with their sequences",
    "Estimate of each metric and the ends of its confidence sequence, in margins of the metric.",
    "the sequence narrows; for a guardrail it ends below 1 margin of harm.",
    Kind.SERIES,
    """
SELECT time AS "time", arm || ' ' || metric || ends.name AS metric, ends.value / margin AS margins
FROM experiment_looks AS looks
CROSS JOIN LATERAL (VALUES ('', estimate), (' low', low), (' high', high)) AS ends (name, value)
WHERE $__timeFilter(time) AND margin > 0 AND ends.value IS NOT NULL AND abs(ends.value) < 20 * margin ORDER BY time""",
    "none",
    info(),
    decimals=2,
    no_rows=_NO_EXPERIMENT,
)
SAMPLE = Panel(
    17,
    "Sample ratio",
    "E-values against the split into arms of equal size, by requests and by impressions, in powers of ten; users who "
    "were served by two arms, in percent.",
    "below 3, which is an e-value of 1,000; no user in two arms.",
    Kind.SERIES,
    """
SELECT time AS "time", ends.name AS metric, ends.value FROM experiment_decisions
CROSS JOIN LATERAL (VALUES ('requests', log(greatest(e_requests, 0.01))),
    ('impressions', log(greatest(e_impressions, 0.01))), ('two arms %', 100 * crossed)) AS ends (name, value)
WHERE $__timeFilter(time) ORDER BY time""",
    "none",
    below(1, 3),
    decimals=2,
    no_rows=_NO_EXPERIMENT,
    runbook="experiment-invalid",
)
DECISIONS = Panel(
    18,
    "Decisions",
    "The newest looks: what the monitor decided and why, or what the next step waits for.",
    "wait, step, promote.",
    Kind.TABLE,
    """
SELECT time, experiment, action, share, reason, alert FROM experiment_decisions
WHERE $__timeFilter(time) ORDER BY time DESC LIMIT 15""",
    "none",
    info(),
    width=24,
    height=7,
    units={"share": "percentunit"},
    value_colors={"step": GREEN, "promote": GREEN, "hold": YELLOW, "back": RED, "wait": BLUE},
    no_rows=_NO_EXPERIMENT,
    runbook="experiment-blind",
)
NOVELTY = Panel(
    19,
    "Movies begun by day since the first request",
    "Movies begun within the window per list of the newest experiment, by the days since a user's first request. Of an "
    "interleaving, movies of either team.",
    "the effect stays: one that fades is novelty.",
    Kind.TABLE,
    """
WITH newest AS (
    SELECT experiment FROM experiment_decisions WHERE $__timeFilter(time) ORDER BY time DESC LIMIT 1
), arms AS (
    SELECT DISTINCT arm FROM experiment_looks WHERE experiment = (SELECT experiment FROM newest)
)
SELECT day, lists, control, "new", "new" - control AS effect FROM (
SELECT day, sum(shown)::bigint AS lists,
       coalesce(sum(begun_old)::float8 / nullif(sum(drafted), 0),
           sum(watched) FILTER (WHERE NOT is_new)::float8 / nullif(sum(lists) FILTER (WHERE NOT is_new), 0)) AS control,
       coalesce(sum(begun_new)::float8 / nullif(sum(drafted), 0),
           sum(watched) FILTER (WHERE is_new)::float8 / nullif(sum(lists) FILTER (WHERE is_new), 0)) AS "new"
FROM (SELECT *, arm IN (SELECT arm FROM arms) AS is_new FROM experiment_days
      WHERE experiment = (SELECT experiment FROM newest)) AS days
GROUP BY days.day) AS by_day ORDER BY by_day.day LIMIT 30""",
    "none",
    info(),
    height=9,
    decimals=3,
    units={"day": "short", "lists": "short"},
    no_rows=_NO_EXPERIMENT,
)

ROWS = (
    (RELEASE, ARMS, HARM_NOW, FAILED),
    (SHARE, BY_ARM),
    (ESTIMATES,),
    (SECONDARY,),
    (HARM, E_VALUES),
    (SEQUENCES, SAMPLE),
    (DECISIONS,),
    (WATCH_RATE, NOVELTY),
    (POSITIONS, ACCURACY),
    (RETRAIN_RUNS,),
)
