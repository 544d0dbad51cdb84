"""What the browser gets: panels without their SQL, and rows as JSON."""

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
    """One dashboard with its panels, as the page draws it."""
    return {
        "uid": board.uid,
        "title": board.title,
        "question": board.description,
        "panels": [_panel_shape(panel) for panel in board.panels],
    }


def _panel_shape(panel: PanelFile) -> dict[str, Any]:
    shown = panel.field_config.defaults
    names = [o["matcher"]["options"] for o in panel.field_config.overrides]
    columns = {name: panel.field_config.of_column(name) for name in names}
    return {
        "id": panel.id,
        "title": panel.title,
        "description": panel.description,
        "type": panel.type,
        "grid": {"w": panel.grid_pos.w, "h": panel.grid_pos.h},
        "unit": shown.unit,
        "units": {name: found["unit"] for name, found in columns.items() if "unit" in found},
        "series": {name: found["color"]["fixedColor"] for name, found in columns.items() if "color" in found},
        "decimals": shown.decimals,
        "min": shown.min,
        "max": shown.max,
        "nothing": shown.no_value,
        "steps": [{"value": step.value, "color": step.color} for step in shown.thresholds.steps],
        "colors": _text_colors(panel),
        "stacked": shown.custom.get("stacking", {}).get("mode") == "normal",
        "line": shown.custom.get("thresholdsStyle", {}).get("mode", "off") != "off",
        "links": [{"title": link.title, "url": here(link.url)} for link in panel.links],
    }


def serialize_alert(alert: Alert) -> dict[str, Any]:
    """One alert as the page lists it."""
    return {**msgspec.structs.asdict(alert), "runbook": here(alert.runbook)}


def here(url: str) -> str:
    """A link to a page of docs/runbooks leads to this page's own copy of it."""
    found = re.fullmatch(r".*/docs/runbooks/([a-z0-9-]+)\.md", url)
    return f"/runbooks/{found[1]}" if found else url


def _text_colors(panel: PanelFile) -> dict[str, str]:
    """Text -> colour, of Grafana's value mappings."""
    mappings = panel.field_config.defaults.mappings
    options = [mapping["options"] for mapping in mappings if mapping["type"] == "value"]
    return {text: result["color"] for each in options for text, result in each.items()}


def serialize_table(panel: PanelFile, table: Table) -> dict[str, Any]:
    """Columns with their kinds ("time" in ms since 1970, "number" or "text"), and rows."""
    kinds = [_kind(panel, name, table.rows, place) for place, name in enumerate(table.columns)]
    return {
        "columns": [{"name": name, "kind": kind} for name, kind in zip(table.columns, kinds, strict=True)],
        "rows": [[_value(value, kind) for value, kind in zip(row, kinds, strict=True)] for row in table.rows],
        "whole": table.whole,
    }


def _kind(panel: PanelFile, name: str, rows: Sequence[Sequence[Any]], place: int) -> str:
    if panel.type == "timeseries" and name == "time":
        return "time"
    some = next((row[place] for row in rows if row[place] is not None), None)
    if isinstance(some, datetime):
        return "time"
    is_number = isinstance(some, int | float | Decimal | timedelta) and not isinstance(some, bool)
    return "number" if is_number else "text"


def _value(value: Any, kind: str) -> Any:
    if value is None:
        return None
    if kind == "time":
        # Without TimescaleDB, $__timeGroup gives seconds since 1970.
        seconds = value.timestamp() if isinstance(value, datetime) else float(value)
        return round(seconds * 1000)
    if kind == "number":
        number = value.total_seconds() if isinstance(value, timedelta) else float(value)
        return number if math.isfinite(number) else None
    return value.isoformat() if isinstance(value, date) else str(value)
