"""What an alert rule is, and what its summary may show."""

from __future__ import annotations

from dataclasses import dataclass

from dashboards.panels import Panel


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
