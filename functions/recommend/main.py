"""The ``recommend`` function: an HTTP request in, a list of movies out. See :mod:`marquee.serving.http_api`."""

# ruff: noqa: E402
from __future__ import annotations

import gc

# A cold start creates many objects and frees almost none; garbage collection would take a fifth of its time.
gc.disable()  # Until the first answer.

import logging
import os
import threading

# One thread a request: products of this size finish before another core could help.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import flask
import functions_framework

from marquee.config.function_server import prepare_server, refuse_settings
from marquee.config.needs import NEEDS
from marquee.config.settings import Settings
from marquee.errors import MarqueeError, SettingsError
from marquee.serving.app import LazyService, create_service
from marquee.serving.fast_path import Environ, FastPath
from marquee.serving.http_api import Reply
from marquee.serving.instrumentation import InstrumentedApp


def _create_from_environment() -> InstrumentedApp:
    settings = Settings.from_mapping(os.environ, NEEDS["recommend"])
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    return create_service(settings)


_service = LazyService(_create_from_environment)


def _reply(method: str, path: str, environ: Environ) -> Reply:
    if path == "/healthz" and method in ("GET", "HEAD"):  # Independent of the settings, which may be wrong.
        return Reply(200, b"ok\n")
    try:
        reply = _service().reply(method, path, environ)
    except SettingsError as error:
        text, status, headers = refuse_settings(error)
        return Reply(status, text.encode(), headers.pop("Content-Type"), headers)
    if not gc.isenabled():
        gc.freeze()  # Long-lived objects need not be scanned again.
        gc.set_threshold(20_000, 20, 20)  # An answer creates no cycles, so frequent collections find nothing.
        gc.enable()
    return reply


@functions_framework.http
def recommend(request: flask.Request) -> flask.Response:
    """Answer one request."""
    return _respond(request)


def _respond(request: flask.Request) -> flask.Response:
    reply = _reply(request.method, request.path, request.environ)
    return flask.Response(reply.body, reply.status, reply.headers, content_type=reply.content_type)


@functions_framework.errorhandler(404)  # type: ignore[untyped-decorator]
def handle_unrouted(_: Exception) -> flask.Response:
    """Answer a path that the framework cannot route, such as one with a line break."""
    return _respond(flask.request)


def _start_loading() -> None:
    """Load the model in a new worker while the server gets ready for its first request."""
    try:
        _service().http.recommender.cache.start()
    except MarqueeError:
        pass  # Each request reports the error.


if flask.has_app_context():  # The framework loads a function within its application.
    flask.current_app.wsgi_app = FastPath(flask.current_app.wsgi_app, _reply)  # type: ignore[method-assign]
    prepare_server(flask.current_app)
    os.register_at_fork(after_in_child=lambda: threading.Thread(target=_start_loading, daemon=True).start())
