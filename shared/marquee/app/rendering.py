"""Templates of the app, and its static files, which are versioned by a hash."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from marquee.app.page_request import HTML, PageReply
from marquee.app.template_environment import create_environment

_STATIC = Path(__file__).parent / "static"
_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webmanifest": "application/manifest+json",
}
_FOREVER = "public, max-age=31536000, immutable"


def render(template: str, status: int = 200, *, token: str | None = None, **values: Any) -> PageReply:
    """Return a page from one of the templates."""
    text = _templates().get_template(template).render(version=assets_version(), **values)
    return PageReply(status, text.encode("utf-8", "replace"), HTML, token=token)


def read_templates() -> None:
    """Load the templates of the first screen, and read the static files."""
    for name in ("base.html", "cards.html", "home.html"):
        _templates().get_template(name)
    assets_version()


def static_reply(name: str) -> PageReply | None:
    """Return a static file, or None if there is none of that name."""
    body = _static_files().get(name)
    if body is None:
        return None
    if name.endswith(".js"):  # Imports also carry the version, because files are cached indefinitely.
        body = body.replace(b"VERSION", assets_version().encode())
    return PageReply(200, body, _TYPES[Path(name).suffix], {"Cache-Control": _FOREVER})


def worker_reply() -> PageReply:
    """Return the service worker. Its content includes the version, so a change of any file updates it."""
    body = _static_files()["sw.js"].replace(b"VERSION", assets_version().encode())
    headers = {"Cache-Control": "no-cache", "Service-Worker-Allowed": "/"}
    return PageReply(200, body, _TYPES[".js"], headers)


def manifest_reply() -> PageReply:
    """Return the manifest of the installable app."""
    body = _static_files()["app.webmanifest"]
    return PageReply(200, body, _TYPES[".webmanifest"], {"Cache-Control": "public, max-age=3600"})


@cache
def assets_version() -> str:
    """Return the hash of all static files, which URLs carry as the version."""
    joined = b"".join(name.encode() + body for name, body in sorted(_static_files().items()))
    return hashlib.sha256(joined).hexdigest()[:12]


@cache
def _static_files() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in _STATIC.iterdir() if path.suffix in _TYPES}


@cache
def _templates() -> jinja2.Environment:
    return create_environment()
