"""Grafana's dashboard files (schema v1), as far as they are needed to run and draw them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from marquee.errors import PanelRefused

SOURCE = "marquee"
# In the order in which a person asks: are customers served, then why not. Others come after these.
_ORDER = ("service-health", "model-quality", "data-quality", "experiments", "stream")


class Threshold(msgspec.Struct, frozen=True):
    """From ``value`` on (None: from below all), what is shown has this colour."""

    value: float | None
    color: str


class Thresholds(msgspec.Struct, frozen=True):
    """In the order of their values."""

    steps: tuple[Threshold, ...] = ()


class Defaults(msgspec.Struct, frozen=True, rename="camel"):
    """How the fields of a panel are shown, but for the overrides."""

    unit: str = ""
    thresholds: Thresholds = Thresholds()
    decimals: int | None = None
    min: float | None = None
    max: float | None = None
    no_value: str = ""
    mappings: tuple[Mapping[str, Any], ...] = ()
    custom: Mapping[str, Any] = msgspec.field(default_factory=dict)


class FieldConfig(msgspec.Struct, frozen=True):
    """``overrides``: for single columns, as Grafana writes them."""

    defaults: Defaults = Defaults()
    overrides: tuple[Mapping[str, Any], ...] = ()

    def of_column(self, column: str) -> dict[str, Any]:
        """The overridden properties of one column."""
        return {
            found["id"]: found["value"]
            for override in self.overrides
            if override["matcher"] == {"id": "byName", "options": column}
            for found in override["properties"]
        }


class GridPosition(msgspec.Struct, frozen=True):
    """On a grid that is 24 wide."""

    x: int
    y: int
    w: int
    h: int


class Link(msgspec.Struct, frozen=True):
    """A link of a panel or a dashboard."""

    title: str
    url: str = ""


class DataSource(msgspec.Struct, frozen=True):
    """Where a query goes."""

    uid: str
    type: str


class Target(msgspec.Struct, frozen=True, rename="camel"):
    """One query; ``format`` is "time_series" or "table"."""

    raw_sql: str
    format: str
    datasource: DataSource


class PanelFile(msgspec.Struct, frozen=True, rename="camel"):
    """One panel: a query, and how its rows are shown."""

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
        """Its one query."""
        return self.targets[0].raw_sql


class BoardFile(msgspec.Struct, frozen=True):
    """One dashboard; ``description`` is the question that it answers."""

    uid: str
    title: str
    panels: tuple[PanelFile, ...]
    description: str = ""
    links: tuple[Link, ...] = ()

    def panel(self, number: int) -> PanelFile:
        """The panel of this id; raises KeyError."""
        for panel in self.panels:
            if panel.id == number:
                return panel
        raise KeyError(number)


def read_boards(folder: Path) -> dict[str, BoardFile]:
    """Uid -> dashboard of every ``*.json`` in ``folder``, ours first.

    Raises PanelRefused for a file that is no dashboard, or has a panel that cannot be run here.
    """
    paths = sorted(folder.glob("*.json"), key=lambda path: (_place(path.stem), path.stem))
    boards = [_read(path) for path in paths]
    if not boards:
        raise PanelRefused(f"{folder} holds no dashboard: it is the folder of Grafana's *.json files")
    return {board.uid: board for board in boards}


def _place(name: str) -> int:
    return _ORDER.index(name) if name in _ORDER else len(_ORDER)


def _read(path: Path) -> BoardFile:
    try:
        board = msgspec.json.decode(path.read_bytes(), type=BoardFile)
    except (OSError, msgspec.MsgspecError) as error:
        raise PanelRefused(f"{path} is no dashboard: {error}") from error
    for panel in board.panels:
        if [target.datasource.uid for target in panel.targets] != [SOURCE]:
            raise PanelRefused(f"{path}: panel {panel.title!r} does not ask {SOURCE!r} one query")
    return board
