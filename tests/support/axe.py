"""Accessibility violations that axe-core finds on a page."""

from __future__ import annotations

from typing import Any, Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
CONTRAST = {"runOnly": ["color-contrast"]}
"""Options of the one rule whose result depends on the color scheme."""
_ALL: dict[str, Any] = {}


def find_violations(page: Page, options: dict[str, Any] = _ALL) -> list[str]:
    """Return a line for each element that breaks a rule: impact, rule, selector, and what axe says of it."""
    found = Axe().run(page, options={"resultTypes": ["violations"], **options}).response
    assert found["passes"], "axe checked nothing"
    return [
        f"{rule['impact']} {rule['id']} {node['target']}: {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


def find_in_both_schemes(page: Page) -> list[str]:
    """Return the violations of all rules with the light colors, and of the contrast with the dark ones."""
    found = []
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        found += [f"{scheme}: {line}" for line in find_violations(page, _ALL if scheme == "light" else CONTRAST)]
    return found
