"""Alert rule: a query, a threshold, and the texts of the alert."""

from __future__ import annotations

from dataclasses import dataclass

from dashboards.panels import Panel


@dataclass(frozen=True)
class AlertRule:
    """Alert rule that fires while its query returns a value above ``threshold`` for the duration ``pending``.

    ``name`` is the stem of its runbook in docs/runbooks. ``unit`` follows the value in messages. ``board`` and
    ``panel`` are what the alert links to. ``span_s`` is how far back ``$__timeFilter`` reaches, in seconds.
    ``no_data`` and ``error`` are the state after an evaluation without rows and after a failed one.
    """

    name: str
    title: str
    sql: str
    threshold: float
    unit: str
    pending: str
    severity: str
    summary: str
    board: str
    panel: Panel
    span_s: int = 600
    no_data: str = "OK"
    error: str = "KeepLast"
