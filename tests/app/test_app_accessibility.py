"""Accessibility of the app's screens, as axe-core checks it in Chromium."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser
from tests.app.visit import App, Visit, movie_path
from tests.page.conftest import browser
from tests.servers.movie_service import MOVIES
from tests.support.axe import find_in_both_schemes

__all__ = ["browser"]
pytestmark = pytest.mark.servers
SIZES: dict[str, dict[str, Any]] = {
    "phone": {"viewport": {"width": 412, "height": 839}, "is_mobile": True, "has_touch": True},
    "desktop": {"viewport": {"width": 1440, "height": 900}},
}


def list_screens(visitor: Visit) -> tuple[str, ...]:
    """Return the paths of all screens, for a user who has something in each row of home."""
    visitor.post(movie_path(MOVIES[3], "/list"), wanted=1)
    visitor.post(f"/watch/{MOVIES[4]}/7")
    movie = movie_path(MOVIES[2], f"?because={MOVIES[5].replace('+', '%2B')}&rated=1")
    return ("/", movie, f"/watch/{MOVIES[2]}", "/search?q=a", "/search?q=nothing+has+this", "/you", "/offline")


@pytest.mark.parametrize("size", SIZES)
def test_axe_finds_nothing_on_any_screen(app: App, browser: Browser, size: str) -> None:
    """All rules hold with the light colors, and the contrast also with the dark ones."""
    visitor = Visit(app)
    visitor.open("/you")
    name, value = visitor.cookie.split("=")
    context = browser.new_context(**SIZES[size])
    context.add_cookies([{"name": name, "value": value, "url": app.url}])
    page = context.new_page()
    found = []
    for path in list_screens(visitor):
        page.goto(f"{app.url}{path}")
        found += [f"{path} {violation}" for violation in find_in_both_schemes(page)]
    context.close()
    assert found == [], "\n".join(found)
