"""The page in a real browser: drawing, navigation, refresh, accessibility and alerts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from typing import Literal

import msgspec
import pytest
from playwright.sync_api import Browser, Page, expect
from tests.page.conftest import ROOT, serve_page

from marquee.db.pool import Database
from marquee.grafana.panel_files import BoardFile
from marquee.monitoring.alerts.evaluate import Alert
from marquee.monitoring.alerts.rules_file import read_rules
from marquee.monitoring.alerts.watcher import AlertWatcher
from marquee.page import server
from marquee.page.responses import STATIC

pytestmark = pytest.mark.servers
BOARDS = ("service-health", "model-quality", "data-quality", "experiments", "fairness", "stream", "app-usage")
WIDTHS = (1440, 800, 390)
UPDATED = re.compile("Updated")


class Tab:
    """A browser page that records console messages and requests."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.console_errors: list[str] = []
        self.requests: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.console_errors.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    def _console(self, message: object) -> None:
        kind, text = getattr(message, "type", ""), getattr(message, "text", "")
        if kind in ("error", "warning"):
            self.console_errors.append(f"{kind}: {text}")

    def open(self, url: str) -> Tab:
        """Open ``url`` and wait until all panels have a response."""
        self.page.goto(url)
        expect(self.page.locator("#status")).to_have_text(re.compile("Updated|could not"), timeout=60_000)
        return self

    def foreign_requests(self, url: str) -> list[str]:
        """Return the requests to other servers than ``url``."""
        return [request for request in self.requests if not request.startswith((url, "data:", "blob:"))]


@pytest.fixture
def tab(browser: Browser) -> Iterator[Tab]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    yield Tab(context.new_page())
    context.close()


@pytest.mark.parametrize("board", BOARDS)
def test_board_every_panel_is_drawn_without_errors(tab: Tab, day_url: str, board: str) -> None:
    """On a desktop, a tablet and a phone: all panels have data, without errors, foreign requests or overflow."""
    tab.open(f"{day_url}/d/marquee-{board}?range=24h")
    page = tab.page
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") == width
    panels = page.locator(".panel")
    assert panels.count() >= 8
    expect(page.locator(".panel .message")).to_have_count(0)
    for panel in panels.all():
        body = panel.locator(".body")
        drawn = body.locator(".number, td, .trace path, .bars path, .scatterlayer path")
        assert drawn.count() > 0, panel.get_attribute("aria-labelledby")
    assert tab.console_errors == []
    assert tab.foreign_requests(day_url) == []


def test_number_panels_have_units_and_threshold_colors(tab: Tab, day_url: str) -> None:
    """The numbers are those of the database, with units and colors of the thresholds."""
    tab.open(f"{day_url}/d/marquee-experiments?range=24h")
    expect(tab.page.locator("#p1 .number")).to_have_text("12")
    expect(tab.page.locator("#p2 .number")).to_have_text("2")
    failed = tab.page.locator("#p4 .number")
    expect(failed).to_have_text("1 (worth a look)")
    expect(failed).to_have_class(re.compile("orange"))
    rows = tab.page.locator("#p10 tbody tr")
    expect(rows.filter(has_text="refused").locator(".orange")).to_have_text("refused")


def test_chart_has_a_text_for_screen_readers(tab: Tab, day_url: str) -> None:
    """A chart has its current values as a label; there is one heading, and no button without a name."""
    tab.open(f"{day_url}/d/marquee-service-health?range=24h")
    plot = tab.page.get_by_role("img", name=re.compile(r"Latency\. Now: p50 \d+ ms, p95 \d+ ms, p99 \d+ ms"))
    expect(plot).to_be_visible()
    assert tab.page.locator("h1").count() == 1
    unnamed = [button for button in tab.page.get_by_role("button").all() if not button.inner_text().strip()]
    assert unnamed == []


def test_navigation_changes_the_url(tab: Tab, day_url: str) -> None:
    """Board and time range are in the URL, and the browser's back button works."""
    tab.open(f"{day_url}/")
    page = tab.page
    expect(page.locator("h1")).to_have_text("Service health")
    page.get_by_role("link", name="The stream").click()
    expect(page.locator("h1")).to_have_text("The stream")
    page.get_by_role("combobox").select_option("6h")
    assert page.url == f"{day_url}/d/marquee-stream?range=6h"
    expect(page.locator("#status")).to_have_text(UPDATED)
    page.go_back()
    page.go_back()
    expect(page.locator("h1")).to_have_text("Service health")
    expect(page.locator("nav [aria-current]")).to_have_text("Service health")


def test_keyboard_opens_the_help_of_a_panel(tab: Tab, day_url: str) -> None:
    """The first tab stop skips to the panels; Enter opens the description of a panel."""
    tab.open(f"{day_url}/d/marquee-stream")
    tab.page.keyboard.press("Tab")
    expect(tab.page.locator(":focus")).to_have_text("Skip to the panels")
    about = tab.page.locator("#p1 summary")
    about.focus()
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator("#p1 details p")).to_be_visible()


def _count_panel_requests(tab: Tab) -> int:
    return sum("/panels/" in url for url in tab.requests)


def _wait_for_panel_requests(tab: Tab, than: int) -> int:
    """Wait for more than ``than`` panel requests; return their number."""
    for _ in range(300):
        if _count_panel_requests(tab) > than:
            return _count_panel_requests(tab)
        tab.page.wait_for_timeout(100)
    pytest.fail(f"no more than {than} panel requests")


def test_refresh_hidden_page_sends_no_requests(tab: Tab, day_url: str) -> None:
    """The page refreshes periodically, not while it is hidden, and at once when it is visible again."""
    tab.page.clock.install()
    tab.page.add_init_script(
        "Object.defineProperty(document, 'hidden', { get: () => window.isHidden === true, configurable: true })"
    )
    tab.open(f"{day_url}/d/marquee-stream")
    first, status = _count_panel_requests(tab), tab.page.locator("#status")
    text = status.inner_text()
    tab.page.clock.run_for(11_000)
    _wait_for_panel_requests(tab, first)
    expect(status).not_to_have_text(text, timeout=60_000)
    tab.page.evaluate("window.isHidden = true")
    before = _count_panel_requests(tab)
    tab.page.clock.run_for(60_000)
    tab.page.wait_for_timeout(300)
    assert _count_panel_requests(tab) == before
    tab.page.evaluate("window.isHidden = false; document.dispatchEvent(new Event('visibilitychange'))")
    _wait_for_panel_requests(tab, before)


def test_refresh_paused_sends_no_requests(tab: Tab, day_url: str) -> None:
    """The button pauses the refresh."""
    tab.page.clock.install()
    tab.open(f"{day_url}/d/marquee-stream")
    button = tab.page.get_by_role("button", name="Live")
    button.click()
    expect(tab.page.get_by_role("button", name="Paused")).to_have_attribute("aria-pressed", "false")
    before = _count_panel_requests(tab)
    tab.page.clock.run_for(60_000)
    tab.page.wait_for_timeout(300)
    assert _count_panel_requests(tab) == before


def test_theme_choice_is_remembered(tab: Tab, day_url: str) -> None:
    """The button changes between light and dark, and a new page keeps the choice."""
    tab.open(f"{day_url}/d/marquee-stream")
    background = "getComputedStyle(document.body).backgroundColor"
    light = tab.page.evaluate(background)
    tab.page.get_by_role("button", name="Light or dark").click()
    dark = tab.page.evaluate(background)
    assert light != dark
    tab.open(f"{day_url}/d/marquee-stream")
    assert tab.page.evaluate(background) == dark, "the choice was not remembered"


def _contrast(first: str, second: str) -> float:
    """Return the contrast ratio (WCAG 2.2) of two colors in the form #rrggbb."""

    def luminance(color: str) -> float:
        parts = [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_themes_text_contrast_is_sufficient() -> None:
    """The contrast is at least 4.5:1 (WCAG AA) in all themes."""
    css = (STATIC / "page.css").read_text()
    themes = [dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in re.findall(r"\{([^{}]*--ink:[^{}]*)\}", css)]
    assert len(themes) == 3
    for theme, text, background in product(themes, ("ink", "muted", "green", "orange", "red", "blue"), ("surface",)):
        assert _contrast(theme[text], theme[background]) >= 4.5, (text, theme[text], theme[background])


def _with_one_panel(page: server.DashboardPage, board: BoardFile, sql: str, kind: str = "stat") -> server.DashboardPage:
    """Return the page with the first panel of ``board`` of the type ``kind``, with the query ``sql``."""
    panel = next(one for one in board.panels if one.type == kind)
    target = msgspec.structs.replace(panel.targets[0], raw_sql=sql)
    panel = msgspec.structs.replace(panel, targets=(target,))
    return replace(page, boards={board.uid: msgspec.structs.replace(board, panels=(panel,))})


@pytest.mark.parametrize(
    ("sql", "message", "status"),
    [
        ("SELECT 1 AS records WHERE false", "No records in this time range", "Updated"),
        (
            "SELECT records FROM nowhere",
            'relation "nowhere" does not exist',
            "1 of 1 panels could not be read",
        ),
        (
            "SELECT $__nothing(time)",
            "$__nothing(...) is not a known macro",
            "1 of 1 panels could not",
        ),
    ],
)
def test_panel_without_rows_shows_the_reason(
    tab: Tab, day_page: server.DashboardPage, sql: str, message: str, status: str
) -> None:
    """An empty panel shows its own text; a failed query shows the database's error."""
    with serve_page(_with_one_panel(day_page, day_page.boards["marquee-stream"], sql)) as url:
        tab.open(url)
        expect(tab.page.locator("#p1 .message")).to_contain_text(message)
        expect(tab.page.locator("#status")).to_contain_text(status)


def _alert(title: str, state: Literal["firing", "pending", "normal"], summary: str) -> Alert:
    since = datetime(2026, 2, 14, 12, tzinfo=UTC) if state == "firing" else None
    runbook, board = "https://example.com/docs/runbooks/quarantine-burst.md", "marquee-data-quality"
    links = (runbook, board, 2)
    return Alert("uid", title, "warning", *links, "", {}, 0.031, state, since, summary)


@pytest.mark.parametrize(
    ("values", "bars", "text"),
    [
        ("NULL::float8, NULL::float8", 0, "No values yet"),
        ("0.5, NULL::float8", 2, "0 50.00 %"),
        ("0.5, 0.7", 4, "0 control 50.00 % new 70.00 %, 1 control 50.00 % new 70.00 %"),
    ],
    ids=["none", "one", "two"],
)
def test_bars_draw_each_column_that_has_values(
    tab: Tab, day_page: server.DashboardPage, values: str, bars: int, text: str
) -> None:
    """In the first hour of a canary neither arm has a value; later each day has a bar of both."""
    sql = f'SELECT day::text AS day, v.* FROM generate_series(0, 1) AS day, (VALUES ({values})) AS v (control, "new")'
    board = day_page.boards["marquee-experiments"]
    with serve_page(_with_one_panel(day_page, board, sql, "barchart")) as url:
        tab.open(url)
        expect(tab.page.locator(".bars path")).to_have_count(bars)
        body = tab.page.locator(".panel .body")
        shown = body.get_attribute("aria-label") if bars else body.text_content()
        assert text in (shown or "")
        assert tab.console_errors == []


def test_alert_firing_is_shown_in_an_open_list(tab: Tab, day_page: server.DashboardPage) -> None:
    """The heading names the alert, the list is open, and links lead to panel and runbook. Text is not HTML."""
    burst = _alert("Quarantine burst", "firing", "3.1% of the lines could not be read <b>now</b>.")
    alerts = (burst, _alert("Lag", "normal", "Lines take up to 0 seconds."))
    with serve_page(replace(day_page, alerts=lambda: alerts)) as url:
        tab.open(f"{url}/d/marquee-stream")
        expect(tab.page.locator("#alerts-short")).to_have_text("1 firing: Quarantine burst")
        row = tab.page.locator("#alerts tbody tr").first
        expect(row).to_be_visible()
        expect(row).to_contain_text("firing")
        expect(row).to_contain_text("3.1% of the lines could not be read <b>now</b>.")
        expect(row.get_by_role("link", name="Runbook")).to_have_attribute("href", "/runbooks/quarantine-burst")
        row.get_by_role("link", name="Quarantine burst").click()
        expect(tab.page.locator("h1")).to_have_text("Data quality")
        expect(tab.page.locator("#p2 .number")).to_be_visible()
        assert tab.console_errors == []


def test_alerts_pending_are_named_in_the_head(tab: Tab, day_page: server.DashboardPage) -> None:
    """A condition that holds, but not long enough to fire, is not shown as if all were well."""
    alerts = [_alert("Silence", "pending", ""), _alert("Lag", "pending", ""), _alert("Burst", "normal", "")]
    with serve_page(replace(day_page, alerts=lambda: alerts)) as url:
        tab.open(f"{url}/d/marquee-stream")
        short = tab.page.locator("#alerts-short")
        expect(short).to_have_text("none of 3 firing; 2 pending: Silence, Lag")
        expect(tab.page.locator("#alerts")).to_have_class("pending")
        alerts[2] = _alert("Burst", "firing", "")
        tab.page.reload()
        expect(short).to_have_text("1 firing: Burst; 2 pending: Silence, Lag")


def test_alert_rules_on_empty_database_show_silent_stream(
    tab: Tab, day_page: server.DashboardPage, plain_database: Database
) -> None:
    """With the real rules, an empty database shows the alert of a silent stream, with its runbook.

    It is pending for the first minutes of a database, and firing later.
    """
    watcher = AlertWatcher(plain_database, read_rules(ROOT / "dashboards/alerts.yaml"))
    with serve_page(replace(day_page, alerts=lambda: watcher.evaluate(datetime.now(UTC)))) as url:
        tab.open(url)
        expect(tab.page.locator("#alerts-short")).to_contain_text("Stream silent")
        tab.page.locator("#alerts details").evaluate("list => { list.open = true; }")
        row = tab.page.locator("#alerts tbody tr").filter(has_text="Stream silent")
        link = row.get_by_role("link", name="Runbook").get_attribute("href")
        assert "<h1>Stream silent</h1>" in tab.page.request.get(url + str(link)).text()
