"""Names from the data are text, whatever they are; a chart with one point is visible."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import pytest
from playwright.sync_api import expect
from tests.page.conftest import serve_page
from tests.page.test_browser import Tab, tab

from marquee.monitoring.alerts.evaluate import Alert
from marquee.page.server import DashboardPage

__all__ = ["tab"]
pytestmark = pytest.mark.servers
BOARD = "marquee-stream"
NAMES = ("__proto__", "constructor", "<a href='https://example.com'>free</a>", "a & b")


def with_query(page: DashboardPage, kind: str, sql: str) -> DashboardPage:
    """Return the page with one panel of this type and query."""
    board = page.boards[BOARD]
    panel = next(panel for panel in board.panels if panel.type == kind or kind in ("table", "barchart"))
    target = msgspec.structs.replace(panel.targets[0], raw_sql=sql)
    only = msgspec.structs.replace(panel, id=1, type=kind, targets=(target,))
    return replace(page, boards={BOARD: msgspec.structs.replace(board, panels=(only,))})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("points", [1, 3, 60])
def test_series_any_name_is_drawn_as_text(tab: Tab, day_page: DashboardPage, name: str, points: int) -> None:
    """A property of every object or markup is a name like any other; one point has a marker."""
    quoted = name.replace("'", "''")
    sql = (
        f"SELECT $__timeTo()::timestamptz - n * INTERVAL '1 minute' AS time, '{quoted}' AS metric, 5.0 AS value "
        f"FROM generate_series(1, {points}) AS n ORDER BY 1"
    )
    with serve_page(with_query(day_page, "timeseries", sql)) as url:
        tab.open(url)
        expect(tab.page.locator("#p1 .legendtext")).to_contain_text(name)
        assert tab.page.locator("#p1 .legendtext a, #p1 svg a").count() == 0
        if points == 1:
            expect(tab.page.locator("#p1 .scatterlayer .point")).to_have_count(1)
    assert tab.console_errors == []


def test_table_any_value_is_drawn_as_text(tab: Tab, day_page: DashboardPage) -> None:
    """A value named as a property of every object has no color and is text."""
    sql = "SELECT * FROM (VALUES ('__proto__'), ('constructor'), ('<b>bold</b>')) AS t (state)"
    with serve_page(with_query(day_page, "table", sql)) as url:
        tab.open(url)
        cells = tab.page.locator("#p1 td.text")
        expect(cells).to_have_text(["__proto__", "constructor", "<b>bold</b>"])


def test_alert_value_has_a_unit(tab: Tab, day_page: DashboardPage) -> None:
    """The list of alerts shows the unit of a measured value."""
    since = datetime(2026, 2, 14, 12, tzinfo=UTC)
    links = ("https://example.com/docs/runbooks/lag.md", BOARD, 3, "standard errors")
    alert = Alert("uid", "Lag", "warning", *links, {}, 75.5, "firing", since, "Late.")
    with serve_page(replace(day_page, alerts=lambda: [alert])) as url:
        tab.open(url)
        expect(tab.page.locator("td.right", has_text="standard errors")).to_have_text("75.5 standard errors")
