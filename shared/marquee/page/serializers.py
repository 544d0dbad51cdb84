"""JSON for the browser: panels without their SQL, tables and alerts."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from marquee.grafana.panel_files import BoardFile, PanelFile
from marquee.grafana.panel_query import Table
from marquee.monitoring.alerts.evaluate import Alert


def serialize_board(board: BoardFile) -> dict[str, Any]:
    """Return one dashboard with its panels, as the page draws it."""
    return {
        "uid": board.uid,
        "title": board.title,
        "question": board.description,
        "panels": [_serialize_panel(panel) for panel in board.panels],
    }


def _serialize_panel(panel: PanelFile) -> dict[str, Any]:
    defaults = panel.field_config.defaults
    names = [o["matcher"]["options"] for o in panel.field_config.overrides]
    columns = {name: panel.field_config.read_overrides(name) for name in names}
    return {
        "id": panel.id,
        "title": panel.title,
        "description": panel.description,
        "type": panel.type,
        "grid": {"w": panel.grid_pos.w, "h": panel.grid_pos.h},
        "unit": defaults.unit,
        "units": {name: column["unit"] for name, column in columns.items() if "unit" in column},
        "series": {name: column["color"]["fixedColor"] for name, column in columns.items() if "color" in column},
        "decimals": defaults.decimals,
        "min": defaults.min,
        "max": defaults.max,
        "empty_text": defaults.no_value,
        "steps": [{"value": step.value, "color": step.color} for step in defaults.thresholds.steps],
        "colors": _text_colors(panel),
        "stacked": defaults.custom.get("stacking", {}).get("mode") == "normal",
        "line": defaults.custom.get("thresholdsStyle", {}).get("mode", "off") != "off",
        "links": [{"title": link.title, "url": local_runbook_url(link.url)} for link in panel.links],
    }


def serialize_alert(alert: Alert) -> dict[str, Any]:
    """Return one alert as the page lists it."""
    return {**msgspec.structs.asdict(alert), "runbook": local_runbook_url(alert.runbook)}


def local_runbook_url(url: str) -> str:
    """Return ``url``, or the local path of a runbook if it links to one of docs/runbooks."""
    match = re.fullmatch(r".*/docs/runbooks/([a-z0-9-]+)\.md", url)
    return f"/runbooks/{match[1]}" if match else url


def _text_colors(panel: PanelFile) -> dict[str, str]:
    """Return text -> color, from Grafana's value mappings."""
    mappings = panel.field_config.defaults.mappings
    options = [mapping["options"] for mapping in mappings if mapping["type"] == "value"]
    return {text: style["color"] for option in options for text, style in option.items()}


def serialize_table(panel: PanelFile, table: Table) -> dict[str, Any]:
    """Return columns with their kinds ("time" in epoch milliseconds, "number" or "text"), and rows."""
    kinds = [_column_kind(panel, name, table.rows, index) for index, name in enumerate(table.columns)]
    return {
        "columns": [{"name": name, "kind": kind} for name, kind in zip(table.columns, kinds, strict=True)],
        "rows": [[_serialize_value(value, kind) for value, kind in zip(row, kinds, strict=True)] for row in table.rows],
        "complete": table.is_complete,
    }


def _column_kind(panel: PanelFile, name: str, rows: Sequence[Sequence[Any]], index: int) -> str:
    if panel.type == "timeseries" and name == "time":
        return "time"
    sample = next((row[index] for row in rows if row[index] is not None), None)
    if isinstance(sample, datetime):
        return "time"
    is_number = isinstance(sample, int | float | Decimal | timedelta) and not isinstance(sample, bool)
    return "number" if is_number else "text"


def _serialize_value(value: Any, kind: str) -> Any:
    if value is None:
        return None
    if kind == "time":
        # Without TimescaleDB, $__timeGroup returns epoch seconds.
        seconds = value.timestamp() if isinstance(value, datetime) else float(value)
        return round(seconds * 1000)
    if kind == "number":
        number = value.total_seconds() if isinstance(value, timedelta) else float(value)
        return number if math.isfinite(number) else None
    return value.isoformat() if isinstance(value, date) else str(value)
