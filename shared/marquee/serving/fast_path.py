"""The service as a WSGI application, before the framework's own: an answer needs nothing of it.

functions-framework runs a function inside a Flask application; its routing, request and response objects
cost as much as the answer does. What is no recommendation goes the usual way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, TypeAlias

from marquee.serving.http_api import RECOMMEND, Reply

Environ: TypeAlias = dict[str, Any]
StartResponse: TypeAlias = Callable[[str, list[tuple[str, str]]], Any]
Application: TypeAlias = Callable[[Environ, StartResponse], Iterable[bytes]]

_STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


class FastPath:
    """Answers ``/recommend/...`` itself and leaves every other path to ``app``."""

    def __init__(self, app: Application, reply: Callable[[str, str, Environ], Reply]) -> None:
        self._app = app
        self._reply = reply

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        raw: str = environ["PATH_INFO"]
        if not raw.startswith(RECOMMEND):
            return self._app(environ, start_response)
        # WSGI hands over the path's bytes as if they were Latin-1 (PEP 3333).
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
