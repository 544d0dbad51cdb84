"""Notes of the page beside its panels: whether all is well, the time zone, and where rows are missing."""

from __future__ import annotations

import re
from dataclasses import replace

import msgspec
import pytest
from playwright.sync_api import Browser, expect
from tests.page.conftest import insert_rollback, plain_database, serve_page
from tests.page.test_browser import Tab, tab
from tests.page.test_series_names import with_query

from marquee.db.pool import Database
from marquee.monitoring.alerts.evaluate import Alert
from marquee.page.server import DashboardPage

__all__ = ["plain_database", "tab"]
pytestmark = pytest.mark.servers
CUT = "Only the first 10,000 rows are shown. Choose a shorter time range."
SERIES = "SELECT $__timeTo()::timestamptz - n * INTERVAL '1 s' AS time, n AS value FROM generate_series({}, 1, -1) AS n"
BARS = "SELECT 'partition ' || n AS name, n AS value FROM generate_series({}, 1, -1) AS n"


def test_page_all_well_is_answered_in_the_head(browser: Browser, day_page: DashboardPage) -> None:
    """The head says that no alert fires and how old the newest record is; the page names its time zone."""
    alerts = [Alert("uid", title, "warning", "", "marquee-stream", 2, "s", {}, 0.1) for title in ("Lag", "Drift")]
    context = browser.new_context(timezone_id="Asia/Tokyo")
    with serve_page(replace(day_page, alerts=lambda: alerts)) as url:
        tab = Tab(context.new_page()).open(f"{url}/d/marquee-stream")
        expect(tab.page.locator("#alerts-short")).to_have_text("all is well: none of 2 firing")
        expect(tab.page.locator("#newest-record")).to_have_text(re.compile(r"^newest record \d+ (ms|s|min) ago$"))
        expect(tab.page.locator("#status")).to_contain_text("times in Asia/Tokyo")
        assert tab.console_errors == []
    context.close()


def test_page_after_a_rollback_does_not_say_all_is_well(
    tab: Tab, day_page: DashboardPage, plain_database: Database
) -> None:
    """The head names the rollback of the last hour, with its time and reason."""
    insert_rollback(plain_database, "1 minute", "canary harms: mean e-value 198")
    alerts = [Alert("uid", "Lag", "warning", "", "marquee-stream", 2, "s", {}, 0.1)]
    with serve_page(replace(day_page, database=plain_database, alerts=lambda: alerts)) as url:
        tab.open(f"{url}/d/marquee-stream")
        head = re.compile(r"^none of 1 firing; rollback at [\d:]{8}: canary harms: mean e-value 198$")
        expect(tab.page.locator("#alerts-short")).to_have_text(head)
        expect(tab.page.locator("#alerts")).to_have_class("pending")
        assert tab.console_errors == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "No requests in this time range",
            "No requests in this time range. A point appears when its interval is over.",
        ),
        ("Every record could be parsed", "Every record could be parsed"),
    ],
)
def test_chart_without_points_takes_no_room(tab: Tab, day_page: DashboardPage, text: str, shown: str) -> None:
    """A chart says why it is empty, and that the first point comes later, without the height of a chart."""
    page = with_query(day_page, "timeseries", SERIES.format(0))
    (board,) = page.boards.values()
    (panel,) = board.panels
    defaults = msgspec.structs.replace(panel.field_config.defaults, no_value=text)
    silent = msgspec.structs.replace(panel, field_config=msgspec.structs.replace(panel.field_config, defaults=defaults))
    boards = {board.uid: msgspec.structs.replace(board, panels=(silent,))}
    with serve_page(replace(page, boards=boards)) as url:
        tab.open(url)
        expect(tab.page.locator("#p1 .message")).to_have_text(shown)
        box = tab.page.locator("#p1").bounding_box()
        assert box is not None
        assert box["height"] < 170
        assert tab.console_errors == []


def test_chart_of_an_hour_that_began_before_the_range_is_not_blank(tab: Tab, day_page: DashboardPage) -> None:
    """The axis reaches back to the point whose value the legend has."""
    sql = "SELECT $__timeFrom()::timestamptz - INTERVAL '40 minutes' AS time, 3.0 AS value"
    with serve_page(with_query(day_page, "timeseries", sql)) as url:
        tab.open(url)
        expect(tab.page.locator("#p1 .scatterlayer .point")).to_have_count(1)
        first, least = tab.page.evaluate(
            "() => { const plot = document.querySelector('#p1 .body');"
            "  return [plot.data[0].x[0].getTime(), new Date(plot.layout.xaxis.range[0]).getTime()]; }"
        )
        assert least <= first


@pytest.mark.parametrize("width", [1440, 1280, 390])
def test_page_names_of_dashboards_are_whole_where_they_fit(
    browser: Browser, day_page: DashboardPage, width: int
) -> None:
    """The current one is in sight, and on a desktop all are."""
    with serve_page(day_page) as url:
        tab = Tab(browser.new_page(viewport={"width": width, "height": 900})).open(url)
        box = tab.page.locator("#boards").bounding_box()
        assert box is not None
        links = tab.page.locator("#boards a" if width > 1_000 else "#boards a[aria-current]")
        for link in links.all():
            inner = link.bounding_box()
            assert inner is not None
            assert inner["x"] >= box["x"] - 1
            assert inner["x"] + inner["width"] <= box["x"] + box["width"] + 1
        tab.page.close()


@pytest.mark.parametrize(("kind", "sql"), [("timeseries", SERIES), ("barchart", BARS), ("table", BARS)])
def test_panel_cut_at_the_row_limit_says_so(tab: Tab, day_page: DashboardPage, kind: str, sql: str) -> None:
    """A chart says, like a table, that rows beyond the limit are missing; at the limit there is no note."""
    for rows, note in ((10_001, CUT), (10_000, "")):
        with serve_page(with_query(day_page, kind, sql.format(rows))) as url:
            tab.open(url)
            expect(tab.page.locator("#p1 .cut")).to_have_text(note)
            expect(tab.page.locator("#p1 .cut")).to_be_visible(visible=bool(note))
            assert tab.console_errors == []
