"""The ``events`` function: JSON events of apps in, rows of the database out. See :mod:`marquee.ingest.events_http`."""

from __future__ import annotations

import logging
import os
import threading
from functools import cache

import flask
import functions_framework
from werkzeug.exceptions import RequestEntityTooLarge

from marquee.config.access import create_access
from marquee.config.function_server import prepare_server
from marquee.config.needs import NEEDS
from marquee.config.settings import Settings
from marquee.db.pool import Database
from marquee.db.privacy_marks import MarkReader
from marquee.events.json_records import JsonRecordParser
from marquee.events.log_scale import LogScale
from marquee.ingest.events_http import MAX_EVENTS_BYTES, EventsHttp, EventsReply, text_reply
from marquee.ingest.request_body import discard_body, read_body

CONNECTIONS = 2
"""Database connections of a process; infra/functions.yaml counts them."""

_lock = threading.Lock()


@cache
def _create() -> EventsHttp:
    settings = Settings.from_mapping(os.environ, NEEDS["events"]).require("database_url")
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    database = Database(settings.database_url, connections=CONNECTIONS, readers=0)
    parser = JsonRecordParser(LogScale.named(settings.rating_scale), by_id=True)
    reader = MarkReader(settings.privacy_key)
    return EventsHttp(database, parser, create_access(settings), reader)


@functions_framework.http
def events(request: flask.Request) -> flask.Response:
    """Answer one request."""
    return _answer(request)


def _answer(request: flask.Request) -> flask.Response:
    if request.path == "/healthz":  # The process is alive, even if its settings are invalid.
        return _respond(text_reply(200, "ok"))
    with _lock:  # Concurrent first requests share one pool.
        http = _create()
    try:
        return _respond(http.reply(request.environ, request.path, lambda: read_body(request, MAX_EVENTS_BYTES)))
    except RequestEntityTooLarge:
        discard_body(request)
        return _respond(text_reply(413, f"The body has more than {MAX_EVENTS_BYTES} bytes: send fewer events at once."))


@functions_framework.errorhandler(404)  # type: ignore[untyped-decorator]
def handle_unrouted(_: Exception) -> flask.Response:
    """Answer a path that the framework cannot route, such as one with a line break."""
    return _answer(flask.request)


def _respond(reply: EventsReply) -> flask.Response:
    return flask.Response(reply.body, reply.status, dict(reply.headers), content_type=reply.content_type)


if flask.has_app_context():  # The framework loads a function within its application.
    prepare_server(flask.current_app)
