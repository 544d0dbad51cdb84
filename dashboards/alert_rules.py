"""Alert rules in Grafana's provisioning format: ``dashboards/alerts.yaml``, which ``make dashboards`` writes.

The query of a rule returns rows of one number, and text columns that become labels. The rule fires for each row above
its threshold. No query returns a row without a number, because Grafana treats that as no data.

Each fault fires one rule. So only "Stream silent" fires if the database cannot be queried, and it and "Monitor silent"
fire if there are no rows. For the other rules no rows are good (no requests, no experiment), and an error keeps the
state.

Summaries hold no templates: the notification adds labels, value and unit. A dollar sign is not allowed in them,
because Grafana's provisioning expands environment variables.
"""

from __future__ import annotations

from typing import Any

import yaml
from dashboards.alert_rule import AlertRule
from dashboards.operation_alerts import AGE_RULE, ERROR_RATE, LAG, MONITOR_SILENT, SLOW_ANSWERS, STREAM_SILENT
from dashboards.panels import SOURCE
from dashboards.quality_alerts import (
    CONCENTRATION,
    DRIFT,
    EXPERIMENT_BLIND,
    EXPERIMENT_HARMED,
    EXPERIMENT_INVALID,
    FAIRNESS_WORSE,
    LIVE_RMSE,
    MODEL_STALE,
    QUARANTINE_BURST,
)

FOLDER, PREFIX = "Marquee", "marquee-"

GROUPS = {
    ("marquee-every-minute", "1m"): (
        STREAM_SILENT,
        LAG,
        ERROR_RATE,
        SLOW_ANSWERS,
        AGE_RULE,
        QUARANTINE_BURST,
        MONITOR_SILENT,
        EXPERIMENT_HARMED,
        EXPERIMENT_INVALID,
        EXPERIMENT_BLIND,
    ),
    ("marquee-every-five-minutes", "5m"): (LIVE_RMSE, MODEL_STALE, DRIFT, FAIRNESS_WORSE, CONCENTRATION),
}
RULES = tuple(rule for rules in GROUPS.values() for rule in rules)
_HEAD = """\
# Alert rules in Grafana's provisioning format; Compose and Terraform both read this file.
# Written by `make dashboards` from alert_rules.py. Each rule has a page in docs/runbooks.
"""


def format_rules(runbooks: str) -> str:
    """Return the content of ``alerts.yaml``. ``runbooks`` is the URL of docs/runbooks."""
    groups = [
        {
            "orgId": 1,
            "name": name,
            "folder": FOLDER,
            "interval": interval,
            "rules": [_build_rule(rule, runbooks) for rule in rules],
        }
        for (name, interval), rules in GROUPS.items()
    ]
    document = {"apiVersion": 1, "groups": groups}
    return _HEAD + yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=1_000, allow_unicode=True)


def _build_rule(rule: AlertRule, runbooks: str) -> dict[str, Any]:
    return {
        "uid": f"{PREFIX}{rule.name}",
        "title": rule.title,
        "condition": "C",
        "data": [_build_query(rule), *_build_expressions(rule)],
        "noDataState": rule.no_data,
        "execErrState": rule.error,
        "for": rule.pending,
        "annotations": {
            "summary": rule.summary,
            "unit": rule.unit,
            "runbook_url": f"{runbooks}/{rule.name}.md",
            "__dashboardUid__": f"{PREFIX}{rule.board}",
            "__panelId__": str(rule.panel.id),
        },
        "labels": {"app": "marquee", "severity": rule.severity},
    }


def _build_query(rule: AlertRule) -> dict[str, Any]:
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
    return _build_step("A", "marquee", rule.span_s, model)


def _build_expressions(rule: AlertRule) -> list[dict[str, Any]]:
    source = {"datasource": {"type": "__expr__", "uid": "__expr__"}}
    reduce = {"refId": "B", "type": "reduce", "expression": "A", "reducer": "last", **source}
    evaluator = {"type": "gt", "params": [rule.threshold]}
    threshold = {
        "refId": "C",
        "type": "threshold",
        "expression": "B",
        "conditions": [{"evaluator": evaluator}],
    }
    return [_build_step("B", "__expr__", 0, reduce), _build_step("C", "__expr__", 0, {**threshold, **source})]


def _build_step(ref: str, source: str, span_s: int, model: dict[str, Any]) -> dict[str, Any]:
    return {
        "refId": ref,
        "relativeTimeRange": {"from": span_s, "to": 0},
        "datasourceUid": source,
        "model": model,
    }


class _Dumper(yaml.SafeDumper):
    """Dumper that writes queries as blocks, indents lists and uses no aliases."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        super().increase_indent(flow, False)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)
