"""The ``app`` function: the pages of the app, its events, and its files. See :mod:`marquee.app.app_site`."""

# ruff: noqa: E402
from __future__ import annotations

import gc

# A cold start creates many objects and frees almost none; garbage collection would take a fifth of its time.
gc.disable()  # Until the first answer.

import logging
import os
import threading
from functools import cache

import flask
import functions_framework

from marquee.app.app_site import AppSite
from marquee.app.page_request import MAX_BODY_BYTES, PageReply, PageRequest
from marquee.app.services import create_services
from marquee.config.access import find_address
from marquee.config.function_server import prepare_server
from marquee.config.needs import NEEDS
from marquee.config.settings import Settings
from marquee.errors import SettingsError

_lock = threading.Lock()


@cache
def _site() -> AppSite:
    settings = Settings.from_mapping(os.environ, NEEDS["app"])
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    return AppSite(create_services(settings))


@functions_framework.http
def app(request: flask.Request) -> flask.Response:
    """Answer one request."""
    if request.path == "/healthz":  # Independent of the settings, which may be wrong.
        return flask.Response("ok\n", content_type="text/plain")
    with _lock:  # Concurrent first requests share the clients.
        site = _site()
    asked = _read(request)
    reply = site.reply(asked)
    if not gc.isenabled():
        gc.freeze()  # Long-lived objects need not be scanned again.
        gc.enable()
    return _respond(reply, asked)


def _read(request: flask.Request) -> PageRequest:
    # One more byte than is accepted, so that the site can refuse it.
    body = request.stream.read(MAX_BODY_BYTES + 1) if request.method == "POST" else b""
    secure = request.is_secure or request.headers.get("X-Forwarded-Proto") == "https"
    return PageRequest(
        request.method,
        request.path,
        request.query_string.decode("utf-8", "replace"),
        {name.lower(): value for name, value in request.headers.items()},
        body,
        find_address(request.environ),
        secure,
    )


def _respond(reply: PageReply, asked: PageRequest) -> flask.Response:
    return flask.Response(reply.body, reply.status, reply.headers_for(asked))


def _start() -> None:
    """Connect in a new worker while the server gets ready for its first request."""
    try:
        with _lock:
            site = _site()
        site.warm_up()
    except SettingsError:
        pass  # Each request reports the error.


if flask.has_app_context():  # The framework loads a function within its application.
    prepare_server(flask.current_app)
    os.register_at_fork(after_in_child=lambda: threading.Thread(target=_start, daemon=True).start())
