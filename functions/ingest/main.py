"""The ``ingest`` function: takes the bridge's and `recommend`'s events and writes them to the database.

204: written, now or before; or none of our events and kept aside, since sending it again cannot mend it.
401: no good token, where one is asked for. 503: the database cannot take it now; send it again. An HTTP
function rather than a CloudEvent one, since that one's answers are not its own to give.
"""

from __future__ import annotations

import gc
import logging
import os
import threading
from functools import cache

import flask
import functions_framework

from marquee.config.settings import Settings
from marquee.db.pool import Database
from marquee.errors import DatabaseRefused, DatabaseUnavailable, PushRefused, PushUnverifiable
from marquee.events.parser import EventParser
from marquee.ingest.handler import IngestHandler
from marquee.ingest.push_identity import PushIdentity

_log = logging.getLogger("marquee.ingest")
_lock = threading.Lock()


@cache
def _assemble() -> tuple[IngestHandler, PushIdentity | None]:
    settings = Settings.from_mapping(os.environ).require("database_url")
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    gc.set_threshold(
        100_000
    )  # A batch is tens of thousands of tuples that die with it: no reason to look for rings.
    database = Database(settings.database_url, connections=settings.database_connections)
    return IngestHandler(database, EventParser(settings.time_zone, settings.rating_max)), _identity(settings)


def _identity(settings: Settings) -> PushIdentity | None:
    if not settings.push_audience:
        return None
    settings.require("push_service_account")
    return PushIdentity(settings.push_audience, settings.push_service_account)


@functions_framework.http
def ingest(request: flask.Request) -> flask.Response:
    if request.path == "/healthz":  # The process lives, whatever its settings are.
        return _answer(200, "ok\n")
    if request.method != "POST":
        return _answer(
            405, f"{request.method} means nothing here: POST a CloudEvent or a Pub/Sub push.\n", Allow="POST"
        )
    with _lock:  # However many first requests come at once, one pool.
        writer, identity = _assemble()
    try:
        if identity:
            identity.check(request.headers)
        writer.accept(request.headers, request.get_data())
    except PushRefused as error:
        _log.warning("refused: %s", error)
        return _answer(401, f"{error}\n", **{"WWW-Authenticate": "Bearer"})
    except PushUnverifiable as error:
        _log.error("to be sent again: %s", error)
        return _answer(503, "Who sends this cannot be checked now: send it again.\n", **{"Retry-After": "1"})
    except (DatabaseUnavailable, DatabaseRefused) as error:
        _log.error("to be sent again: %s", error)
        return _answer(503, "The database cannot take this now: send it again.\n", **{"Retry-After": "1"})
    return _answer(204, "")


def _answer(status: int, text: str, **headers: str) -> flask.Response:
    return flask.Response(text, status, headers, content_type="text/plain; charset=utf-8")
