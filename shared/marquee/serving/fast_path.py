"""WSGI middleware that answers recommendations without the framework.

functions-framework runs a function inside a Flask application, whose routing, request and response objects cost as
much as a recommendation. All other paths go through the framework.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeAlias

from marquee.serving.http_api import RECOMMEND, SIMILAR, Reply

Environ: TypeAlias = dict[str, Any]
StartResponse: TypeAlias = "WsgiStartResponse"
Application: TypeAlias = "WSGIApplication"

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse as WsgiStartResponse
    from _typeshed.wsgi import WSGIApplication

_STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


class FastPath:
    """WSGI application that answers lists and similar movies with ``reply`` and passes other paths to ``app``."""

    def __init__(self, app: Application, reply: Callable[[str, str, Environ], Reply]) -> None:
        self._app = app
        self._reply = reply

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one WSGI request."""
        raw: str = environ["PATH_INFO"]
        if not raw.startswith((RECOMMEND, SIMILAR)):
            return self._app(environ, start_response)
        # WSGI passes the bytes of the path as Latin-1 (PEP 3333).
        path = raw if raw.isascii() else raw.encode("latin-1").decode(errors="replace")
        method: str = environ["REQUEST_METHOD"]
        reply = self._reply(method, path, environ)
        headers = [
            ("Content-Type", reply.content_type),
            ("Content-Length", str(len(reply.body))),
            *reply.headers.items(),
        ]
        start_response(_STATUS_LINES[reply.status], headers)
        return [] if method == "HEAD" else [reply.body]
