"""The alert rules, and ``dashboards/alerts.yaml`` that comes of them: ``make dashboards``.

A rule asks one query for numbers, each with the labels of its text columns, and fires while one is above its
threshold. No query gives a row without a number, since Grafana would take it for no data.

What no data and an error mean is decided by one rule each: the stream is silent when nothing is there, and when
the database cannot be asked; the monitor is silent when nothing is there. Of the others no data is good (nobody
asks, no canary), and an error changes nothing. So one fault gives one alert.

Annotations are Go templates without a dollar: Grafana's provisioning would take ``$labels`` for a variable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml
from dashboards.panels import SOURCE, Panel

from dashboards import data_quality, experiments, model_quality, service_health, stream

FOLDER, PREFIX = "Marquee", "marquee-"
BUDGET_USD = 600
"""What a month may cost by the estimate; docs/cost.md says what it costs at the design's load."""


@dataclass(frozen=True)
class AlertRule:
    """One rule. ``name``: of its page in docs/runbooks; ``above``: where it fires; ``lasting``: for how long.

    ``span_s``: how far back ``$__timeFilter`` reaches. ``board`` and ``panel``: where one looks.
    """

    name: str
    title: str
    sql: str
    above: float
    lasting: str
    severity: str
    summary: str
    board: str
    panel: Panel
    span_s: int = 600
    no_data: str = "OK"
    error: str = "KeepLast"


def number(form: str) -> str:
    """The value within a summary, as Go and C write it: ``%.1f``."""
    return f'{{{{ printf "{form}" .Values.B.Value }}}}'


LABEL = "{{ .Labels.%s }}"
PERCENT = "{{ humanizePercentage .Values.B.Value }}"

STREAM_SILENT = AlertRule(
    "stream-silent",
    "Stream silent",
    """
SELECT extract(epoch FROM $__timeTo()::timestamptz - max(time))::float8 AS seconds
FROM deliveries_per_minute WHERE time <= $__timeTo()::timestamptz HAVING max(time) IS NOT NULL""",
    300,
    "2m",
    "critical",
    f"Nothing of the log was written for {number('%.0f')} seconds.",
    "stream",
    stream.SILENCE,
    no_data="Alerting",
    error="Alerting",
)
LAG = AlertRule(
    "lag",
    "Lag",
    """
SELECT max(lag_ms_max)::float8 / 1000 AS seconds FROM deliveries_per_minute
WHERE $__timeFilter(time) HAVING max(lag_ms_max) IS NOT NULL""",
    60,
    "5m",
    "warning",
    f"Lines take up to {number('%.0f')} seconds from Kafka to the tables.",
    "stream",
    stream.LAG,
    span_s=180,
)
ERROR_RATE = AlertRule(
    "error-rate",
    "Error rate",
    """
SELECT (sum(requests) - sum(answered))::float8 / sum(requests) AS share FROM availability
WHERE $__timeFilter(time) HAVING sum(requests) >= 100""",
    0.01,
    "5m",
    "critical",
    f"{PERCENT} of the requests for recommendations failed or came too late, as the streaming service saw them.",
    "service-health",
    service_health.ANSWERED,
)
SLOW_ANSWERS = AlertRule(
    "slow-answers",
    "Slow answers",
    """
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY p99_ms) AS ms FROM availability
WHERE $__timeFilter(time) AND requests >= 20 HAVING count(*) > 0""",
    300,
    "10m",
    "warning",
    f"p99 of a typical minute is {number('%.0f')} ms; the caller gives up at 600.",
    "service-health",
    service_health.P99,
)
QUARANTINE_BURST = AlertRule(
    "quarantine-burst",
    "Quarantine burst",
    """
SELECT quarantined::float8 / delivered AS share
FROM (SELECT coalesce(sum(lines), 0) AS quarantined FROM quarantine_per_minute WHERE $__timeFilter(time)) AS q,
     (SELECT coalesce(sum(lines), 0) AS delivered FROM deliveries_per_minute WHERE $__timeFilter(time)) AS d
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
WHERE name IN ('drift.rating_psi', 'drift.film_psi', 'drift.activity_psi') AND value IS NOT NULL AND $__timeFilter(time)
ORDER BY name, time DESC""",
    0.25,
    "15m",
    "warning",
    f"{LABEL % 'check'} is {number('%.2f')}: what comes in is no longer what the model was trained on.",
    "data-quality",
    data_quality.DRIFT_NOW,
    span_s=6 * 3_600,
)
# Standard errors: of RMSE from its 95 % interval, which is a bootstrap over users; of the share of films watched the
# binomial one times two, since films of one list and one user hang together.
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
SELECT theirs.arm, 'share of films watched',
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
COST = AlertRule(
    "cost",
    "Cost",
    """
SELECT sum(usd_per_month) AS usd FROM cost_estimates
WHERE time = (SELECT max(time) FROM cost_estimates WHERE $__timeFilter(time)) HAVING count(*) > 0""",
    BUDGET_USD,
    "1h",
    "warning",
    f"At the load of the last day a month costs {number('%.0f')} US dollars; the budget is {BUDGET_USD}.",
    "service-health",
    service_health.COST,
    span_s=3 * 3_600,
)
MONITOR_SILENT = AlertRule(
    "monitor-silent",
    "Monitor silent",
    """
SELECT task, extract(epoch FROM $__timeTo()::timestamptz
           - coalesce(max(time) FILTER (WHERE error = ''), min(time)))::float8 AS seconds
FROM monitor_runs WHERE $__timeFilter(time) GROUP BY task""",
    3_600,
    "5m",
    "warning",
    f"The monitor's task {LABEL % 'task'} has not ended well for {number('%.0f')} s: what rests on it is old.",
    "data-quality",
    data_quality.MONITOR,
    span_s=86_400,
    no_data="Alerting",
)

GROUPS = {
    ("marquee-every-minute", "1m"): (
        STREAM_SILENT,
        LAG,
        ERROR_RATE,
        SLOW_ANSWERS,
        QUARANTINE_BURST,
        MONITOR_SILENT,
    ),
    ("marquee-every-five-minutes", "5m"): (LIVE_RMSE, MODEL_STALE, DRIFT, CANARY_REGRESSED, COST),
}
RULES = tuple(rule for rules in GROUPS.values() for rule in rules)
_HEAD = """\
# Alert rules in Grafana's provisioning format; Compose and Terraform both read this file.
# Written by `make dashboards` from alert_rules.py; a page in docs/runbooks for each.
"""


def text(runbooks: str) -> str:
    """The text of ``alerts.yaml``; ``runbooks``: where docs/runbooks is shown."""
    groups = [
        {
            "orgId": 1,
            "name": name,
            "folder": FOLDER,
            "interval": interval,
            "rules": [_rule(rule, runbooks) for rule in rules],
        }
        for (name, interval), rules in GROUPS.items()
    ]
    document = {"apiVersion": 1, "groups": groups}
    return _HEAD + yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=1_000, allow_unicode=True)


def _rule(rule: AlertRule, runbooks: str) -> dict[str, Any]:
    return {
        "uid": f"{PREFIX}{rule.name}",
        "title": rule.title,
        "condition": "C",
        "data": [_sql(rule), *_expressions(rule)],
        "noDataState": rule.no_data,
        "execErrState": rule.error,
        "for": rule.lasting,
        "annotations": {
            "summary": rule.summary,
            "runbook_url": f"{runbooks}/{rule.name}.md",
            "__dashboardUid__": f"{PREFIX}{rule.board}",
            "__panelId__": str(rule.panel.id),
        },
        "labels": {"app": "marquee", "severity": rule.severity},
    }


def _sql(rule: AlertRule) -> dict[str, Any]:
    model = {
        "refId": "A",
        "datasource": {"type": SOURCE.type_val, "uid": SOURCE.uid},
        "editorMode": "code",
        "format": "table",
        "rawQuery": True,
        "rawSql": rule.sql.strip() + "\n",
        "intervalMs": 1_000,
        "maxDataPoints": 43_200,
    }
    return _step("A", "marquee", rule.span_s, model)


def _expressions(rule: AlertRule) -> list[dict[str, Any]]:
    source = {"datasource": {"type": "__expr__", "uid": "__expr__"}}
    reduce = {"refId": "B", "type": "reduce", "expression": "A", "reducer": "last", **source}
    evaluator = {"type": "gt", "params": [rule.above]}
    threshold = {
        "refId": "C",
        "type": "threshold",
        "expression": "B",
        "conditions": [{"evaluator": evaluator}],
    }
    return [_step("B", "__expr__", 0, reduce), _step("C", "__expr__", 0, {**threshold, **source})]


def _step(ref: str, source: str, span_s: int, model: dict[str, Any]) -> dict[str, Any]:
    return {
        "refId": ref,
        "relativeTimeRange": {"from": span_s, "to": 0},
        "datasourceUid": source,
        "model": model,
    }


class _Dumper(yaml.SafeDumper):
    """Queries as blocks, lists indented, nothing by reference."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _block)
