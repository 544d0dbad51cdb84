"""The ``recommend`` function: an HTTP request in, a list of movies out. See marquee.serving.http_api."""

# ruff: noqa: E402
from __future__ import annotations

import gc

# A cold start makes many objects and throws none away: looking for garbage among them takes a fifth of it.
gc.disable()  # Until the first answer.

import logging
import os
import threading

# One request, one thread: a product of this size is over before another core has heard of it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import flask
import functions_framework

from marquee.config.settings import Settings
from marquee.errors import MarqueeError
from marquee.serving.app import LazyService, create_service
from marquee.serving.fast_path import Environ, FastPath
from marquee.serving.http_api import Reply
from marquee.serving.instrumentation import InstrumentedApp


def _assemble() -> InstrumentedApp:
    settings = Settings.from_mapping(os.environ)
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    return create_service(settings)


_service = LazyService(_assemble)


def _reply(method: str, path: str, environ: Environ) -> Reply:
    if path == "/healthz":  # The process lives, whatever its settings are.
        return Reply(200, b"ok\n")
    reply = _service().reply(method, path, environ)
    if not gc.isenabled():
        gc.freeze()  # What is there now stays, and need never be looked at again.
        gc.set_threshold(20_000, 20, 20)  # An answer leaves no cycles behind, so looking often finds nothing.
        gc.enable()
    return reply


@functions_framework.http
def recommend(request: flask.Request) -> flask.Response:
    reply = _reply(request.method, request.path, request.environ)
    return flask.Response(reply.body, reply.status, reply.headers, content_type=reply.content_type)


@functions_framework.errorhandler(404)
def unrouted(error: Exception) -> flask.Response:
    """The framework routes no path with a line break in it; the caller is owed its sentence all the same."""
    return recommend(flask.request)


def _begin() -> None:
    """In a new worker: the model loads while the server makes itself ready for the first request."""
    try:
        _service().http.begin()
    except MarqueeError:
        pass  # Each request will say what is wrong.


if flask.has_app_context():  # The framework loads a function within its application.
    flask.current_app.wsgi_app = FastPath(flask.current_app.wsgi_app, _reply)
    os.register_at_fork(after_in_child=lambda: threading.Thread(target=_begin, daemon=True).start())
