"""Alerts of quality: what comes in, and what the models make of it."""

from __future__ import annotations

from dashboards import data_quality, experiments, model_quality
from dashboards.alert_rule import LABEL, PERCENT, AlertRule, number

QUARANTINE_BURST = AlertRule(
    "quarantine-burst",
    "Quarantine burst",
    """
SELECT quarantined::float8 / delivered AS share
FROM (SELECT coalesce(sum(records), 0) AS quarantined FROM quarantine_per_minute WHERE $__timeFilter(time)) AS q,
     (SELECT coalesce(sum(records), 0) AS delivered FROM deliveries_per_minute WHERE $__timeFilter(time)) AS d
WHERE delivered >= 100""",
    0.02,
    "2m",
    "warning",
    f"{PERCENT} of the lines could not be read and are in quarantine.",
    "data-quality",
    data_quality.QUARANTINE_RATE,
)
# Who serves most now, against the other version that was seen last. Of the control arm: a canary has a rule of its own.
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
SELECT now.model_version AS version, now.rmse_low - before.rmse_high AS points
FROM newest AS now JOIN serving USING (model_version),
     LATERAL (SELECT rmse_high FROM newest WHERE model_version <> now.model_version
              ORDER BY time DESC, ratings DESC LIMIT 1) AS before""",
    0,
    "15m",
    "critical",
    f"Live RMSE of {LABEL % 'version'} is worse than the release before's, by {number('%.3f')} beyond both intervals.",
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
    "30m",
    "warning",
    f"The newest event that the serving model has learnt from is {number('%.0f')} hours old.",
    "model-quality",
    model_quality.AGE,
    span_s=3 * 3_600,
)
DRIFT = AlertRule(
    "drift",
    "Drift",
    """
SELECT DISTINCT ON (name) replace(name, 'drift.', '') AS "check", value AS psi FROM quality_checks
WHERE name IN ('drift.rating_psi', 'drift.movie_psi', 'drift.activity_psi') AND value IS NOT NULL AND $__timeFilter(time)
ORDER BY name, time DESC""",
    0.25,
    "15m",
    "warning",
    f"{LABEL % 'check'} is {number('%.2f')}: what comes in is no longer what the model was trained on.",
    "data-quality",
    data_quality.DRIFT_NOW,
    span_s=6 * 3_600,
)
# Standard errors: of RMSE from its 95 % interval, which is a bootstrap over users; of the share of movies watched the
# binomial one times two, since movies of one list and one user hang together.
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
watching AS (
    SELECT arm, sum(watched)::float8 / sum(shown) AS share, sum(shown)::float8 AS shown FROM impression_outcomes
    WHERE $__timeFilter(time) GROUP BY arm HAVING sum(shown) >= 1000)
SELECT theirs.arm, 'RMSE' AS measure,
       (theirs.rmse - ours.rmse) / nullif(sqrt(theirs.error ^ 2 + ours.error ^ 2), 0) AS errors
FROM accuracy AS theirs JOIN serving USING (arm), accuracy AS ours
WHERE ours.arm = 'control' AND theirs.error + ours.error > 0
UNION ALL
SELECT theirs.arm, 'share of movies watched',
       (ours.share - theirs.share) / (2 * sqrt(
           ours.share * (1 - ours.share) / ours.shown + theirs.share * (1 - theirs.share) / theirs.shown))
FROM watching AS theirs JOIN serving USING (arm), watching AS ours
WHERE ours.arm = 'control' AND ours.share BETWEEN 1e-9 AND 1 - 1e-9""",
    3,
    "15m",
    "critical",
    f"{LABEL % 'arm'} is {number('%.1f')} standard errors worse than control, by its {LABEL % 'measure'}.",
    "experiments",
    experiments.OUTCOMES,
    span_s=86_400,
)
