"""Alert rules for quality: incoming data, and the models."""

from __future__ import annotations

from dashboards import data_quality, experiments, model_quality
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
# The version that serves most now, compared with the version seen last before it. Only the control arm counts, because
# a canary has its own rule.
LIVE_RMSE = AlertRule(
    "live-rmse",
    "Live RMSE worse",
    """
WITH newest AS (
    SELECT DISTINCT ON (model_version) model_version, time, ratings, rmse_low, rmse_high FROM live_accuracy
    WHERE window_s = 86400 AND arm = 'control' AND model_version <> '' AND ratings >= 100 AND rmse_low IS NOT NULL
      AND $__timeFilter(time)
    ORDER BY model_version, time DESC),
serving AS (
    SELECT model_version FROM live_accuracy
    WHERE window_s = 3600 AND arm = 'control' AND model_version <> ''
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
# Difference from control in standard errors. For RMSE they follow from the 95 % interval of a bootstrap over users. For
# the watch rate it is the binomial standard error times two, because movies of one list and one user are correlated.
CANARY_REGRESSED = AlertRule(
    "canary-regressed",
    "Canary regressed",
    """
WITH serving AS (
    SELECT DISTINCT arm FROM live_accuracy
    WHERE window_s = 3600 AND arm NOT IN ('', 'control') AND model_version <> ''
      AND time BETWEEN $__timeTo()::timestamptz - INTERVAL '2 hours' AND $__timeTo()::timestamptz),
accuracy AS (
    SELECT DISTINCT ON (arm) arm, rmse, (rmse_high - rmse_low) / 3.92 AS error FROM live_accuracy
    WHERE window_s = 86400 AND arm <> '' AND model_version <> '' AND rmse_low IS NOT NULL AND ratings >= 100
      AND time BETWEEN $__timeTo()::timestamptz - INTERVAL '3 hours' AND $__timeTo()::timestamptz
    ORDER BY arm, time DESC, ratings DESC),
watches AS (
    SELECT arm, sum(watched)::float8 / sum(shown) AS rate, sum(shown)::float8 AS shown FROM impression_outcomes
    WHERE $__timeFilter(time) GROUP BY arm HAVING sum(shown) >= 1000)
SELECT canary.arm, 'RMSE' AS metric,
       (canary.rmse - control.rmse) / nullif(sqrt(canary.error ^ 2 + control.error ^ 2), 0) AS errors
FROM accuracy AS canary JOIN serving USING (arm), accuracy AS control
WHERE control.arm = 'control' AND canary.error + control.error > 0
UNION ALL
SELECT canary.arm, 'watch rate',
       (control.rate - canary.rate) / (2 * sqrt(
           control.rate * (1 - control.rate) / control.shown + canary.rate * (1 - canary.rate) / canary.shown))
FROM watches AS canary JOIN serving USING (arm), watches AS control
WHERE control.arm = 'control' AND control.rate BETWEEN 1e-9 AND 1 - 1e-9""",
    3,
    "standard errors",
    "15m",
    "critical",
    "An arm is worse than control.",
    "experiments",
    experiments.OUTCOMES,
    span_s=86_400,
)
