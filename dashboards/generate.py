"""Generator of ``dashboards/*.json`` and ``dashboards/alerts.yaml``, run by ``make dashboards``.

Dashboards have schema v1 and are built with Grafana's own builders (grafana-foundation-sdk).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dashboards import (
    alert_rules,
    app_usage,
    data_quality,
    experiments,
    fairness,
    model_quality,
    service_health,
    stream,
)
from dashboards.panels import Panel, create_builder
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as dm

HERE = Path(__file__).parent
RUNBOOKS = "https://github.com/marquee/marquee/blob/main/docs/runbooks"
GRID = 24


@dataclass(frozen=True)
class Board:
    """Dashboard: a question, and the rows of panels that answer it."""

    uid: str
    title: str
    question: str
    rows: Sequence[Sequence[Panel]]


BOARDS = tuple(
    Board(f"marquee-{name}", module.TITLE, module.QUESTION, module.ROWS)
    for name, module in {
        "service-health": service_health,
        "model-quality": model_quality,
        "data-quality": data_quality,
        "experiments": experiments,
        "fairness": fairness,
        "stream": stream,
        "app-usage": app_usage,
    }.items()
)


def build_dashboard(board: Board) -> str:
    """Return the content of the file of a dashboard."""
    builder = (
        builders.Dashboard(board.title)
        .uid(board.uid)
        .description(board.question)
        .tags(["marquee"])
        .timezone("browser")
        .time("now-6h", "now")
        .refresh("30s")
        .readonly()
        .tooltip(dm.DashboardCursorSync.CROSSHAIR)
    )
    for other in BOARDS:
        if other is not board:
            link = builders.DashboardLink(other.title).type(dm.DashboardLinkType.LINK)
            builder.link(link.url(f"/d/{other.uid}").tooltip(other.question).keep_time(True))
    top = 0
    for row in board.rows:
        left = 0
        for panel in row:
            position = dm.GridPos(h=panel.height, w=panel.width, x=left, y=top)
            builder.with_panel(create_builder(panel, RUNBOOKS).grid_pos(position))
            left += panel.width
        if left != GRID:
            raise ValueError(f"{board.title}: the row of {row[0].title!r} is {left} wide, not {GRID}")
        top += max(panel.height for panel in row)
    return format_dashboard(builder.build())


def format_dashboard(dashboard: dm.Dashboard) -> str:
    """Return a dashboard as JSON. Links stay above the panels; the SDK's default hides them in a menu."""
    plain = json.loads(json.dumps(dashboard, cls=JSONEncoder))
    for link in [*plain["links"], *(link for panel in plain["panels"] for link in panel.get("links", ()))]:
        link.pop("placement", None)
    return json.dumps(plain, indent=2, sort_keys=True) + "\n"


def build_files() -> dict[str, str]:
    """Return the content of each dashboard file by name."""
    return {f"{board.uid.removeprefix('marquee-')}.json": build_dashboard(board) for board in BOARDS}


if __name__ == "__main__":
    for name, content in build_files().items():
        (HERE / name).write_text(content)
        sys.stdout.write(f"dashboards/{name}\n")
    (HERE / "alerts.yaml").write_text(alert_rules.format_rules(RUNBOOKS))
    sys.stdout.write("dashboards/alerts.yaml\n")
