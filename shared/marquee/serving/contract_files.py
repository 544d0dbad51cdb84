"""The contract as ``recommend`` serves it: the OpenAPI document, and a page that shows it.

``make docs`` writes both files; nothing of them is computed while requests are answered.
"""

from __future__ import annotations

from pathlib import Path

from marquee.serving.http_api import JSON, Reply

_FOLDER = Path(__file__).with_name("contract")
_FILES = {
    "/openapi.json": ("openapi.json", JSON),
    "/docs": ("api.html", "text/html; charset=utf-8"),
}
# The page has neither scripts nor resources.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def find_contract(method: str, path: str) -> Reply | None:
    """Return the reply with a file of the contract, None for any other request."""
    if path not in _FILES or method not in ("GET", "HEAD"):
        return None
    name, content_type = _FILES[path]
    headers = {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff"}
    return Reply(200, (_FOLDER / name).read_bytes(), content_type, headers)
