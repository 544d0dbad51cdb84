"""The alert rules, and ``dashboards/alerts.yaml`` that comes of them: ``make dashboards``.

A rule asks one query for numbers, each with the labels of its text columns, and fires while one is above its
threshold. No query gives a row without a number, since Grafana would take it for no data.

What no data and an error mean is decided by one rule each: the stream is silent when nothing is there, and when
the database cannot be asked; the monitor is silent when nothing is there. Of the others no data is good (nobody
asks, no canary), and an error changes nothing. So one fault gives one alert.

Annotations are Go templates without a dollar: Grafana's provisioning would take ``$labels`` for a variable.
"""

from __future__ import annotations

from typing import Any

import yaml
from dashboards.alert_rule import AlertRule
from dashboards.operation_alerts import ERROR_RATE, LAG, MONITOR_SILENT, SLOW_ANSWERS, STREAM_SILENT
from dashboards.panels import SOURCE
from dashboards.quality_alerts import CANARY_REGRESSED, DRIFT, LIVE_RMSE, MODEL_STALE, QUARANTINE_BURST

FOLDER, PREFIX = "Marquee", "marquee-"

GROUPS = {
    ("marquee-every-minute", "1m"): (
        STREAM_SILENT,
        LAG,
        ERROR_RATE,
        SLOW_ANSWERS,
        QUARANTINE_BURST,
        MONITOR_SILENT,
    ),
    ("marquee-every-five-minutes", "5m"): (LIVE_RMSE, MODEL_STALE, DRIFT, CANARY_REGRESSED),
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
