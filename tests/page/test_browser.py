"""What a person sees, in a real browser."""

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
from tests.page.conftest import ROOT, served

from marquee.db.pool import Database
from marquee.grafana.panel_files import BoardFile
from marquee.monitoring.alerts.evaluate import Alert
from marquee.monitoring.alerts.rules_file import read_rules
from marquee.monitoring.alerts.watcher import AlertWatcher
from marquee.page import server
from marquee.page.server import STATIC

pytestmark = pytest.mark.servers
BOARDS = ("service-health", "model-quality", "data-quality", "experiments", "stream")
WIDTHS = (1440, 800, 390)
DRAWN = re.compile("Updated")


class Tab:
    """A page of the browser, with all that it complained of and asked for."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.asked: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))

    def _console(self, message: object) -> None:
        kind, text = getattr(message, "type", ""), getattr(message, "text", "")
        if kind in ("error", "warning"):
            self.complaints.append(f"{kind}: {text}")

    def open(self, url: str) -> Tab:
        """Go there, and wait until all panels were asked for."""
        self.page.goto(url)
        expect(self.page.locator("#status")).to_have_text(re.compile("Updated|could not"), timeout=60_000)
        return self

    def elsewhere(self, url: str) -> list[str]:
        """Requests that left the page's server."""
        return [asked for asked in self.asked if not asked.startswith((url, "data:", "blob:"))]


@pytest.fixture
def tab(browser: Browser) -> Iterator[Tab]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    yield Tab(context.new_page())
    context.close()


@pytest.mark.parametrize("board", BOARDS)
def test_every_panel_is_drawn(tab: Tab, day_url: str, board: str) -> None:
    """At a desktop's, a tablet's and a phone's width: with data, with no complaint, from nowhere else, no overflow."""
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
    assert tab.complaints == []
    assert tab.elsewhere(day_url) == []


def test_numbers_are_those_of_the_database(tab: Tab, day_url: str) -> None:
    """With their units, and coloured by the thresholds."""
    tab.open(f"{day_url}/d/marquee-experiments?range=24h")
    expect(tab.page.locator("#p1 .number")).to_have_text("12")
    expect(tab.page.locator("#p2 .number")).to_have_text("2")
    failed = tab.page.locator("#p4 .number")
    expect(failed).to_have_text("1 (worth a look)")
    expect(failed).to_have_class(re.compile("orange"))
    rows = tab.page.locator("#p10 tbody tr")
    expect(rows.filter(has_text="refused").locator(".orange")).to_have_text("refused")


def test_a_plot_is_told_to_who_does_not_see_it(tab: Tab, day_url: str) -> None:
    tab.open(f"{day_url}/d/marquee-service-health?range=24h")
    plot = tab.page.get_by_role(
        "img", name=re.compile(r"Response times\. Now: p50 \d+ ms, p95 \d+ ms, p99 \d+ ms")
    )
    expect(plot).to_be_visible()
    assert tab.page.locator("h1").count() == 1
    unnamed = [button for button in tab.page.get_by_role("button").all() if not button.inner_text().strip()]
    assert unnamed == []


def test_another_board_and_another_time(tab: Tab, day_url: str) -> None:
    """By links that can be kept; the way back is the browser's."""
    tab.open(f"{day_url}/")
    page = tab.page
    expect(page.locator("h1")).to_have_text("Service health")
    page.get_by_role("link", name="The stream").click()
    expect(page.locator("h1")).to_have_text("The stream")
    page.get_by_role("combobox").select_option("6h")
    assert page.url == f"{day_url}/d/marquee-stream?range=6h"
    expect(page.locator("#status")).to_have_text(DRAWN)
    page.go_back()
    page.go_back()
    expect(page.locator("h1")).to_have_text("Service health")
    expect(page.locator("nav [aria-current]")).to_have_text("Service health")


def test_by_keyboard(tab: Tab, day_url: str) -> None:
    """The first stop skips to the panels; what a panel is about opens by the Enter key."""
    tab.open(f"{day_url}/d/marquee-stream")
    tab.page.keyboard.press("Tab")
    expect(tab.page.locator(":focus")).to_have_text("Skip to the panels")
    about = tab.page.locator("#p1 summary")
    about.focus()
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator("#p1 details p")).to_be_visible()


def _panels_asked(tab: Tab) -> int:
    return sum("/panels/" in url for url in tab.asked)


def _asked_more(tab: Tab, than: int) -> int:
    """Wait until more panels were asked for than that; returns how many."""
    for _ in range(300):
        if _panels_asked(tab) > than:
            return _panels_asked(tab)
        tab.page.wait_for_timeout(100)
    pytest.fail(f"no more than {than} panels were asked for")


def test_it_asks_again_but_not_while_nobody_looks(tab: Tab, day_url: str) -> None:
    tab.page.clock.install()
    tab.page.add_init_script(
        "Object.defineProperty(document, 'hidden', { get: () => window.away === true, configurable: true })"
    )
    tab.open(f"{day_url}/d/marquee-stream")
    first, status = _panels_asked(tab), tab.page.locator("#status")
    told = status.inner_text()
    tab.page.clock.run_for(11_000)
    _asked_more(tab, first)
    expect(status).not_to_have_text(told, timeout=60_000)  # That round has come to its end.
    tab.page.evaluate("window.away = true")
    settled = _panels_asked(tab)
    tab.page.clock.run_for(60_000)
    tab.page.wait_for_timeout(300)
    assert _panels_asked(tab) == settled
    tab.page.evaluate("window.away = false; document.dispatchEvent(new Event('visibilitychange'))")
    _asked_more(tab, settled)


def test_paused(tab: Tab, day_url: str) -> None:
    tab.page.clock.install()
    tab.open(f"{day_url}/d/marquee-stream")
    button = tab.page.get_by_role("button", name="Live")
    button.click()
    expect(tab.page.get_by_role("button", name="Paused")).to_have_attribute("aria-pressed", "false")
    asked = _panels_asked(tab)
    tab.page.clock.run_for(60_000)
    tab.page.wait_for_timeout(300)
    assert _panels_asked(tab) == asked


def test_light_and_dark(tab: Tab, day_url: str) -> None:
    tab.open(f"{day_url}/d/marquee-stream")
    paper = "getComputedStyle(document.body).backgroundColor"
    light = tab.page.evaluate(paper)
    tab.page.get_by_role("button", name="Light or dark").click()
    dark = tab.page.evaluate(paper)
    assert light != dark
    tab.open(f"{day_url}/d/marquee-stream")
    assert tab.page.evaluate(paper) == dark, "it is remembered"


def _contrast(one: str, other: str) -> float:
    """WCAG 2.2's ratio of two #rrggbb."""

    def luminance(color: str) -> float:
        parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_texts_stand_out_from_their_ground() -> None:
    """At least 4.5 to 1 (WCAG AA), light and dark."""
    css = (STATIC / "page.css").read_text()
    themes = [
        dict(re.findall(r"--(\w+): (#\w{6})", block))
        for block in re.findall(r"\{([^{}]*--ink:[^{}]*)\}", css)
    ]
    assert len(themes) == 3
    for theme, text, ground in product(
        themes, ("ink", "muted", "green", "orange", "red", "blue"), ("surface",)
    ):
        assert _contrast(theme[text], theme[ground]) >= 4.5, (text, theme[text], theme[ground])


def _only(page: server.DashboardPage, board: BoardFile, sql: str) -> server.DashboardPage:
    """The page with one panel of the board, asking ``sql``."""
    panel = board.panels[0]
    target = msgspec.structs.replace(panel.targets[0], raw_sql=sql)
    panel = msgspec.structs.replace(panel, targets=(target,))
    return replace(page, boards={board.uid: msgspec.structs.replace(board, panels=(panel,))})


@pytest.mark.parametrize(
    ("sql", "says", "status"),
    [
        ("SELECT 1 AS records WHERE false", "No line came in this time", "Updated"),
        (
            "SELECT records FROM nowhere",
            'relation "nowhere" does not exist',
            "1 of 1 panels could not be read",
        ),
        (
            "SELECT $__nothing(time)",
            "$__nothing(...) is no macro that is known here",
            "1 of 1 panels could not",
        ),
    ],
)
def test_a_panel_without_rows_says_why(
    tab: Tab, day_page: server.DashboardPage, sql: str, says: str, status: str
) -> None:
    with served(_only(day_page, day_page.boards["marquee-stream"], sql)) as url:
        tab.open(url)
        expect(tab.page.locator("#p1 .message")).to_contain_text(says)
        expect(tab.page.locator("#status")).to_contain_text(status)


def _alert(title: str, state: Literal["firing", "normal"], summary: str) -> Alert:
    since = datetime(2026, 2, 14, 12, tzinfo=UTC) if state == "firing" else None
    runbook, board = "https://example.com/docs/runbooks/quarantine-burst.md", "marquee-data-quality"
    links = (runbook, board, 2)
    return Alert("uid", title, "warning", *links, "", {}, 0.031, state, since, summary)


def test_an_alert_that_fires_is_seen_at_once(tab: Tab, day_page: server.DashboardPage) -> None:
    """Named in the heading, and the list is open: what, since when, where to look, what to do. Text stays text."""
    burst = _alert("Quarantine burst", "firing", "3.1% of the lines could not be read <b>now</b>.")
    alerts = (burst, _alert("Lag", "normal", "Lines take up to 0 seconds."))
    with served(replace(day_page, alerts=lambda: alerts)) as url:
        tab.open(f"{url}/d/marquee-stream")
        expect(tab.page.locator("#alerts-short")).to_have_text("1 firing: Quarantine burst")
        row = tab.page.locator("#alerts tbody tr").first
        expect(row).to_be_visible()
        expect(row).to_contain_text("firing")
        expect(row).to_contain_text("3.1% of the lines could not be read <b>now</b>.")
        expect(row.get_by_role("link", name="Runbook")).to_have_attribute(
            "href", "/runbooks/quarantine-burst"
        )
        row.get_by_role("link", name="Quarantine burst").click()
        expect(tab.page.locator("h1")).to_have_text("Data quality")
        expect(tab.page.locator("#p2 .number")).to_be_visible()
        assert tab.complaints == []


def test_a_stream_that_fell_silent(
    tab: Tab, day_page: server.DashboardPage, plain_database: Database
) -> None:
    """By the real rules: of a database that nothing came into, the page says so."""
    watcher = AlertWatcher(plain_database, read_rules(ROOT / "dashboards/alerts.yaml"))
    with served(replace(day_page, alerts=lambda: watcher.evaluate(datetime.now(UTC)))) as url:
        tab.open(url)
        expect(tab.page.locator("#alerts-short")).to_contain_text("Stream silent")
        row = tab.page.locator("#alerts tbody tr").filter(has_text="Stream silent")
        link = row.get_by_role("link", name="Runbook").get_attribute("href")
        assert "# Stream silent" in tab.page.request.get(url + str(link)).text()
