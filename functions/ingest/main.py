"""The ``ingest`` function: writes the events of the bridge and of ``recommend`` to the database.

| status | meaning |
|---|---|
| 204 | written, now or before; or not a valid event, and stored as rejected because a retry cannot help |
| 401 | no valid token, or no shared secret, where one is required; the body is not read |
| 409 | records of a topic that was created again under its name, on a broker without topic ids; nothing is written |
| 413 | more than 16 MB; the body is discarded |
| 503 | the database is unavailable; send it again |

It is an HTTP function, because functions-framework determines the answer of a CloudEvent function.
"""

from __future__ import annotations

import gc
import logging
import os
import threading
from functools import cache

import flask
import functions_framework
from werkzeug.exceptions import RequestEntityTooLarge

from marquee.config.delivery_secret import check_delivery_secret
from marquee.config.function_server import prepare_server
from marquee.config.needs import NEEDS
from marquee.config.settings import Settings
from marquee.db.pool import Database
from marquee.db.privacy_marks import MarkReader
from marquee.errors import DatabaseRefused, DatabaseUnavailable, PushRefused, PushUnverifiable, TopicRecreated
from marquee.events.envelopes import MAX_BODY_BYTES
from marquee.events.log_scale import LogScale
from marquee.events.parser import EventParser
from marquee.ingest.handler import IngestHandler
from marquee.ingest.push_identity import PushIdentity
from marquee.ingest.request_body import discard_body, read_body

CONNECTIONS = 2
"""Database connections: one batch is written while the next one is parsed. infra/functions.yaml counts them."""

_log = logging.getLogger("marquee.ingest")
_lock = threading.Lock()


@cache
def _create() -> tuple[IngestHandler, PushIdentity | None, str]:
    settings = Settings.from_mapping(os.environ, NEEDS["ingest"]).require("database_url")
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # A batch is tens of thousands of tuples without reference cycles, freed together.
    gc.set_threshold(100_000)
    database = Database(settings.database_url, connections=CONNECTIONS, readers=0)
    parser = EventParser(settings.time_zone, LogScale.named(settings.rating_scale))
    reader = MarkReader(settings.privacy_key)
    return IngestHandler(database, parser, reader), _identity(settings), settings.delivery_secret


def _identity(settings: Settings) -> PushIdentity | None:
    for service_account, audience in settings.push_identity:
        return PushIdentity(audience, service_account)
    return None


@functions_framework.http
def ingest(request: flask.Request) -> flask.Response:
    """Answer a delivery, or a health check at /healthz."""
    if request.path == "/healthz":  # The process is alive, even if its settings are invalid.
        return _answer(200, "ok\n")
    if request.method != "POST":
        return _answer(405, f"{request.method} is not supported: POST a CloudEvent or a Pub/Sub push.\n", Allow="POST")
    with _lock:  # Concurrent first requests share one pool.
        handler, identity, secret = _create()
    headers = dict(request.headers)
    try:
        if identity:
            identity.check(headers)
        if secret:
            check_delivery_secret(secret, headers)
        handler.accept(headers, read_body(request, MAX_BODY_BYTES))
    except RequestEntityTooLarge:
        discard_body(request)
        _log.warning("refused: a body of more than %d bytes", MAX_BODY_BYTES)
        return _answer(413, f"The body has more than {MAX_BODY_BYTES} bytes: send smaller batches.\n")
    except PushRefused as error:
        discard_body(request)
        _log.warning("refused: %s", error)
        return _answer(401, f"{error}\n", **{"WWW-Authenticate": "Bearer"})
    except PushUnverifiable as error:
        discard_body(request)
        _log.error("answered 503: %s", error)
        return _answer(503, "The sender cannot be verified now: send it again.\n", **{"Retry-After": "1"})
    except TopicRecreated as error:
        _log.error("answered 409: %s", error)
        return _answer(409, f"{error}\n")
    except (DatabaseUnavailable, DatabaseRefused) as error:
        _log.error("answered 503: %s", error)
        return _answer(503, "The database is unavailable: send it again.\n", **{"Retry-After": "1"})
    return _answer(204, "")


def _answer(status: int, text: str, **headers: str) -> flask.Response:
    return flask.Response(text, status, headers, content_type="text/plain; charset=utf-8")


if flask.has_app_context():  # The framework loads a function within its application.
    prepare_server(flask.current_app)
