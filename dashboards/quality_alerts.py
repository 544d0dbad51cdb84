"""Alert rules for quality: incoming data, and the models."""

from __future__ import annotations

from dashboards import data_quality, experiments, fairness, model_quality
from dashboards.alert_rule import AlertRule

QUARANTINE_BURST = AlertRule(
    "quarantine-burst",
    "Quarantine burst",
    """
SELECT 100.0 * quarantined / delivered AS percent
FROM (SELECT coalesce(sum(records), 0) AS quarantined FROM quarantine_per_minute WHERE $__timeFilter(time)) AS q,
     (SELECT coalesce(sum(records), 0) AS delivered FROM deliveries_per_minute WHERE $__timeFilter(time)) AS d
WHERE delivered >= 100""",
    2,
    "%",
    "2m",
    "warning",
    "Many records could not be parsed and were quarantined.",
    "data-quality",
    data_quality.QUARANTINE_RATE,
)
# The version that serves most now, compared with the version seen last before it. Only control and the users outside an
# experiment count, because an experiment has its own rules.
LIVE_RMSE = AlertRule(
    "live-rmse",
    "Live RMSE worse",
    """
WITH newest AS (
    SELECT DISTINCT ON (model_version) model_version, time, ratings, rmse_low, rmse_high FROM live_accuracy
    WHERE window_s = 86400 AND arm IN ('control', 'outside') AND model_version <> '' AND ratings >= 100
      AND rmse_low IS NOT NULL AND $__timeFilter(time)
    ORDER BY model_version, time DESC, ratings DESC),
serving AS (
    SELECT model_version FROM live_accuracy
    WHERE window_s = 3600 AND arm IN ('control', 'outside') AND model_version <> ''
      AND time BETWEEN $__timeTo()::timestamptz - INTERVAL '2 hours' AND $__timeTo()::timestamptz
    ORDER BY time DESC, ratings DESC LIMIT 1)
SELECT current.model_version AS version, current.rmse_low - previous.rmse_high AS points
FROM newest AS current JOIN serving USING (model_version),
     LATERAL (SELECT rmse_high FROM newest WHERE model_version <> current.model_version
              ORDER BY time DESC, ratings DESC LIMIT 1) AS previous""",
    0,
    "points",
    "15m",
    "critical",
    "The live RMSE of a version is worse than that of the release before it. The intervals do not overlap.",
    "model-quality",
    model_quality.BY_VERSION,
    span_s=7 * 86_400,
)
MODEL_STALE = AlertRule(
    "model-stale",
    "Model stale",
    """
SELECT value AS hours FROM quality_checks
WHERE name = 'model.age_h' AND value IS NOT NULL AND $__timeFilter(time) ORDER BY time DESC LIMIT 1""",
    48,
    "hours",
    "30m",
    "warning",
    "The newest event that the serving model was trained on is too old.",
    "model-quality",
    model_quality.AGE,
    span_s=3 * 3_600,
)
DRIFT = AlertRule(
    "drift",
    "Drift",
    """
SELECT DISTINCT ON (name) replace(name, 'drift.', '') AS "check", value AS psi FROM quality_checks
WHERE name IN ('drift.rating_psi', 'drift.movie_psi', 'drift.activity_psi') AND value IS NOT NULL
  AND $__timeFilter(time)
ORDER BY name, time DESC""",
    0.25,
    "PSI",
    "15m",
    "warning",
    "Incoming data differ from the training data of the serving model.",
    "data-quality",
    data_quality.DRIFT_NOW,
    span_s=6 * 3_600,
)
# The monitor's decisions about the running experiment rest on always-valid e-values: looking often costs nothing.
EXPERIMENT_HARMED = AlertRule(
    "experiment-harmed",
    "Experiment harmed",
    """
SELECT DISTINCT ON (experiment) experiment, e FROM experiment_decisions
WHERE alert = 'harmed' AND $__timeFilter(time) ORDER BY experiment, time DESC""",
    20,
    "(e-value)",
    "1m",
    "critical",
    "An arm harms its users. The monitor has rolled the experiment back, unless it is on hold.",
    "experiments",
    experiments.E_VALUES,
    span_s=6 * 3_600,
)
# In units of the limit: an e-value of 1,000 of the sample ratio, 1 % of the users in two arms, harm between equal arms.
EXPERIMENT_INVALID = AlertRule(
    "experiment-invalid",
    "Experiment invalid",
    """
SELECT DISTINCT ON (experiment) experiment, CASE WHEN alert = 'invalid' THEN greatest(
    ln(greatest(e_requests, e_impressions, 1)) / ln(1000), crossed / 0.01, e / 20) ELSE 0 END AS "limit"
FROM experiment_decisions WHERE $__timeFilter(time) ORDER BY experiment, time DESC""",
    1,
    "times the limit",
    "1m",
    "critical",
    "Users are not split as the experiment says. None of its metrics is believed.",
    "experiments",
    experiments.SAMPLE,
    span_s=3_600,
)
EXPERIMENT_BLIND = AlertRule(
    "experiment-blind",
    "Experiment blind",
    """
SELECT newest.experiment, CASE WHEN newest.alert = 'blind' THEN
    extract(epoch FROM newest.time - coalesce(seen.time, $__timeFrom()::timestamptz))::float8 / 60 ELSE 0 END AS minutes
FROM (SELECT DISTINCT ON (experiment) experiment, time, alert FROM experiment_decisions
      WHERE time > $__timeTo()::timestamptz - INTERVAL '1 hour' AND time <= $__timeTo()::timestamptz
      ORDER BY experiment, time DESC) AS newest
LEFT JOIN LATERAL (
    SELECT max(time) AS time FROM experiment_decisions AS d
    WHERE d.experiment = newest.experiment AND d.alert <> 'blind' AND $__timeFilter(d.time)) AS seen ON true""",
    10,
    "minutes",
    "1m",
    "warning",
    "Nothing is known of an arm of the running experiment. It goes back to control after six hours.",
    "experiments",
    experiments.DECISIONS,
    span_s=86_400,
)
# The newest release, compared with the one before it. With fewer users a Gini coefficient is higher, so a day counts
# only with about as many users as the other.
FAIRNESS_WORSE = AlertRule(
    "fairness-worse",
    "Fairness worse",
    """
WITH newest AS (
    SELECT DISTINCT ON (release, metric, kind) release, metric, kind, time, users, low, high FROM live_fairness
    WHERE metric IN ('rmse_gap', 'ndcg_gap', 'exposure_gini') AND arm = 'control' AND users >= 100 AND low IS NOT NULL
      AND $__timeFilter(time)
    ORDER BY release, metric, kind, time DESC)
SELECT current.metric, current.kind, current.low - previous.high AS points
FROM newest AS current,
     LATERAL (SELECT high, users FROM newest AS older
              WHERE older.metric = current.metric AND older.kind = current.kind AND older.release < current.release
              ORDER BY older.release DESC LIMIT 1) AS previous
WHERE current.release = (SELECT max(release) FROM newest) AND current.users >= 0.8 * previous.users
  AND current.time >= $__timeTo()::timestamptz - INTERVAL '3 hours'""",
    0,
    "points",
    "15m",
    "warning",
    "A release is less fair to users or movies than the release before it. The intervals do not overlap.",
    "fairness",
    fairness.HISTORY,
    span_s=7 * 86_400,
)
# Over all releases, because a feedback loop is the work of many. The median of the upper ends of the days before is the
# baseline. With fewer users a day is more concentrated, so only days with about as many users are compared.
CONCENTRATION = AlertRule(
    "concentration",
    "Concentration",
    """
WITH days AS (
    SELECT time, metric, users, low, high FROM live_fairness
    WHERE metric IN ('exposure_gini', 'exposure_top') AND arm = 'control' AND users >= 100 AND low IS NOT NULL
      AND $__timeFilter(time)),
newest AS (
    SELECT DISTINCT ON (metric) * FROM days WHERE time >= $__timeTo()::timestamptz - INTERVAL '3 hours'
    ORDER BY metric, time DESC, users DESC)
SELECT metric, current.low - before.high AS points
FROM newest AS current,
     LATERAL (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY older.high) AS high, count(*) AS days
              FROM days AS older
              WHERE older.metric = current.metric AND older.time <= current.time - INTERVAL '1 day'
                AND older.users BETWEEN current.users / 1.25 AND current.users * 1.25) AS before
WHERE before.days >= 3""",
    0,
    "points",
    "30m",
    "warning",
    "A few movies have more of the exposure than in the week before: a feedback loop or an attack.",
    "fairness",
    fairness.CONCENTRATION,
    span_s=8 * 86_400,
)
