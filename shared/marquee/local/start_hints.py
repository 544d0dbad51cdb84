"""Addresses and commands that a started system prints for a visitor."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from marquee.local.system import LocalSystem

_USER = 42


def format_hints(system: LocalSystem) -> str:
    """Return the pages to open, the most telling one first, and commands for another terminal."""
    recommend, dashboards = system.url("recommend"), system.url("dashboards")
    pages = [("playground", f"{dashboards}/play", "rate movies, and see the list and its reasons change")]
    if system.shape.app:
        pages.append(("app", _app_url(system), "the lists as a user sees them, also on a phone (docs/app.md)"))
    pages += [
        ("dashboards", f"{dashboards}/", "the stream, the quality of the models, experiments"),
        ("API", f"{recommend}/docs", "its description"),
    ]
    width = max(len(url) for _, url, _ in pages)
    program = _shorten(Path(sys.executable).parent / "marquee")
    marquee = f"{program} local{_state_option(system)}"
    key = '-H "Marquee-Key: $KEY" ' if system.settings.recommend_key else ""  # Of a caller that MARQUEE_API_KEYS names.
    return "\n".join(
        [
            "Open:",
            *(f"  {name:10}  {url:{width}}  {what}" for name, url, what in pages),
            "In another terminal:",
            f"  curl {key}{recommend}/recommend/{_USER}",
            f"  curl {key}-H 'Accept: application/json' '{recommend}/recommend/{_USER}?n=5&explain=3'",
            f"  {marquee} status",
            f'  eval "$({marquee} env)"  # settings for other commands, such as `{program} release list`',
        ]
    )


def _app_url(system: LocalSystem) -> str:
    port = system.url("app").rpartition(":")[2]
    return f"http://{system.shape.host}:{port}/"


def _state_option(system: LocalSystem) -> str:
    directory = system.state_dir.directory
    return "" if directory == system.root / ".local" else f" --state-dir {_shorten(directory)}"


def _shorten(path: Path) -> str:
    """Return the path, relative if it is below the working directory, quoted for a shell."""
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))
