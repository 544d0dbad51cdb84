"""Guard of an HTTP server that listens on loopback, against the pages of the developer's browser.

Any website may send requests to 127.0.0.1 (cross-site request forgery), and may point its own host name there
(DNS rebinding). So the Host header must name this machine, and a request that a page of another site caused
is refused. On any other address, such as in a container, the guard does nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

Environ: TypeAlias = dict[str, Any]

HOSTS = ("127.0.0.1", "localhost", "[::1]")
_LISTENERS = ("127.0.0.1", "::1", "localhost")


class LoopbackGuard:
    """WSGI application that refuses requests of other sites, and passes all others to ``app``."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one WSGI request."""
        if not listens_on_loopback(environ) or not (refusal := find_refusal(environ)):
            return self._app(environ, start_response)
        status, message = refusal
        body = f"{message}\n".encode()
        headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
        start_response(status, headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def guard_loopback(app: Any) -> None:
    """Put the guard in front of the Flask application ``app``."""
    app.wsgi_app = LoopbackGuard(app.wsgi_app)


def listens_on_loopback(environ: Mapping[str, Any]) -> bool:
    """Return True if the server of a WSGI request listens on loopback only."""
    return environ.get("SERVER_NAME") in _LISTENERS


def find_refusal(environ: Environ) -> tuple[str, str] | None:
    """Return the status line and the reason if a server on loopback must refuse the request, else None."""
    host = environ.get("HTTP_HOST", "")
    if host and not is_local_host(host):
        reason = f"This server serves this machine only. Valid host names: {', '.join(HOSTS)}."
        return "421 Misdirected Request", reason
    origin = environ.get("HTTP_ORIGIN")
    if origin is not None and not is_local_host(urlsplit(origin).netloc):
        return "403 Forbidden", "This server answers pages of this machine only, not those of other sites."
    if environ.get("HTTP_SEC_FETCH_SITE") == "cross-site" and not _is_link(environ):
        return "403 Forbidden", "This server answers pages of this machine only, not those of other sites."
    return None


def is_local_host(host: str) -> bool:
    """Return True if a Host header, with or without a port, names this machine."""
    name, _, port = host.rpartition(":") if not host.endswith("]") and ":" in host else (host, "", "0")
    return name.lower() in HOSTS and port.isdecimal()


def _is_link(environ: Environ) -> bool:
    """Return True if a person followed a link, whose answer the other site cannot read."""
    return environ["REQUEST_METHOD"] == "GET" and environ.get("HTTP_SEC_FETCH_MODE") == "navigate"
