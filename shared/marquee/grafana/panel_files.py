"""Grafana's dashboard files (schema v1): the fields needed to run queries and draw panels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from marquee.errors import PanelRefused

SOURCE = "marquee"
# From symptoms to causes. Other dashboards come after these.
_ORDER = ("service-health", "model-quality", "data-quality", "experiments", "fairness", "stream", "app-usage")


class Threshold(msgspec.Struct, frozen=True):
    """Color of values from ``value`` on; None is minus infinity."""

    value: float | None
    color: str


class Thresholds(msgspec.Struct, frozen=True):
    """Thresholds in ascending order of their values."""

    steps: tuple[Threshold, ...] = ()


class Defaults(msgspec.Struct, frozen=True, rename="camel"):
    """Display options of the fields of a panel."""

    unit: str = ""
    thresholds: Thresholds = Thresholds()
    decimals: int | None = None
    min: float | None = None
    max: float | None = None
    no_value: str = ""
    mappings: tuple[Mapping[str, Any], ...] = ()
    custom: Mapping[str, Any] = msgspec.field(default_factory=dict)


class FieldConfig(msgspec.Struct, frozen=True):
    """Display options of a panel. ``overrides`` are those of single columns, as Grafana writes them."""

    defaults: Defaults = Defaults()
    overrides: tuple[Mapping[str, Any], ...] = ()

    def read_overrides(self, column: str) -> dict[str, Any]:
        """Return the overridden properties of a column."""
        return {
            option["id"]: option["value"]
            for override in self.overrides
            if override["matcher"] == {"id": "byName", "options": column}
            for option in override["properties"]
        }


class GridPosition(msgspec.Struct, frozen=True):
    """Position and size of a panel on a grid 24 columns wide."""

    x: int
    y: int
    w: int
    h: int


class Link(msgspec.Struct, frozen=True):
    """Link of a panel or a dashboard."""

    title: str
    url: str = ""


class DataSource(msgspec.Struct, frozen=True):
    """Data source of a query."""

    uid: str
    type: str


class Target(msgspec.Struct, frozen=True, rename="camel"):
    """Query of a panel; ``format`` is "time_series" or "table"."""

    raw_sql: str
    format: str
    datasource: DataSource


class PanelFile(msgspec.Struct, frozen=True, rename="camel"):
    """Panel with one query."""

    id: int
    title: str
    type: str
    grid_pos: GridPosition
    targets: tuple[Target, ...]
    field_config: FieldConfig
    description: str = ""
    interval: str = "1m"
    max_data_points: int = 240
    links: tuple[Link, ...] = ()

    @property
    def sql(self) -> str:
        """Return the query."""
        return self.targets[0].raw_sql


class BoardFile(msgspec.Struct, frozen=True):
    """Dashboard; ``description`` is the question that it answers."""

    uid: str
    title: str
    panels: tuple[PanelFile, ...]
    description: str = ""
    links: tuple[Link, ...] = ()

    def panel(self, number: int) -> PanelFile:
        """Return the panel with the id ``number``. Raises ``KeyError`` if there is none."""
        for panel in self.panels:
            if panel.id == number:
                return panel
        raise KeyError(number)


def read_boards(folder: Path) -> dict[str, BoardFile]:
    """Return the dashboards of every ``*.json`` in ``folder`` by uid.

    Raises :class:`PanelRefused` if a file is not a dashboard or has a panel that cannot be run here.
    """
    paths = sorted(folder.glob("*.json"), key=lambda path: (_sort_position(path.stem), path.stem))
    boards = [_read(path) for path in paths]
    if not boards:
        raise PanelRefused(f"{folder} holds no dashboard: expected the folder of Grafana's *.json files")
    return {board.uid: board for board in boards}


def _sort_position(name: str) -> int:
    return _ORDER.index(name) if name in _ORDER else len(_ORDER)


def _read(path: Path) -> BoardFile:
    try:
        board = msgspec.json.decode(path.read_bytes(), type=BoardFile)
    except (OSError, msgspec.MsgspecError) as error:
        raise PanelRefused(f"{path} is not a dashboard: {error}") from error
    for panel in board.panels:
        if [target.datasource.uid for target in panel.targets] != [SOURCE]:
            raise PanelRefused(f"{path}: panel {panel.title!r} must have one query to {SOURCE!r}")
    return board
