"""Accessibility of the dashboards, as axe-core checks it in Chromium."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, expect
from tests.support.axe import CONTRAST, find_in_both_schemes, find_violations

pytestmark = pytest.mark.servers


def test_axe_reports_what_breaks_a_rule(browser: Browser) -> None:
    """The check can fail: a picture without a text and pale letters are reported with their rules."""
    page = browser.new_page()
    page.set_content("<html lang=en><title>t</title><main><h1>t</h1><img src=x.png><p style='color:#ccc'>pale</p>")
    assert [line.split()[1] for line in find_violations(page)] == ["color-contrast", "image-alt"]
    assert [line.split()[1] for line in find_violations(page, CONTRAST)] == ["color-contrast"]
    page.close()


@pytest.mark.parametrize(("board", "width"), [("stream", 390), ("app-usage", 1440)])
def test_axe_finds_nothing_on_a_dashboard(browser: Browser, day_url: str, board: str, width: int) -> None:
    """Panels, tables and the head of the page, on a phone and a desktop, in both color schemes."""
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(f"{day_url}/d/marquee-{board}")
    expect(page.locator("#status")).to_have_text(re.compile("Updated"), timeout=60_000)
    found = find_in_both_schemes(page)
    page.close()
    assert found == [], "\n".join(found)
