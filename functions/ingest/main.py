"""``ingest``: takes the bridge's and `recommend`'s events and writes them to the database.

204: written now or before, or none of our events and kept aside, since sending it again cannot mend it.
503: the database cannot take it now; send it again.
"""

from __future__ import annotations

import logging
import os
import threading
from functools import cache

import flask
import functions_framework

from marquee.errors import DatabaseRefused, DatabaseUnavailable
from marquee.settings import Settings
from marquee.stream.lines import LineParser
from marquee.telemetry.database import Database
from marquee.telemetry.ingest import Ingest

_log = logging.getLogger("marquee.ingest")
_lock = threading.Lock()


@cache
def _make() -> Ingest:
    settings = Settings.from_mapping(os.environ).require("database_url")
    logging.basicConfig(level=settings.log_level, format="%(levelname)s %(name)s: %(message)s")
    database = Database(settings.database_url, connections=settings.database_connections)
    return Ingest(database, LineParser(settings.time_zone, settings.rating_max))


@functions_framework.http
def ingest(request: flask.Request) -> flask.typing.ResponseReturnValue:
    """Write one delivery."""
    if request.method != "POST":
        return (
            f"{request.method} is not understood here: POST a CloudEvent or a Pub/Sub push.\n",
            405,
            {"Allow": "POST"},
        )
    with _lock:  # One database, so one pool, however many first requests come at once.
        taker = _make()
    try:
        taker.accept(request.headers, request.get_data())
    except (DatabaseUnavailable, DatabaseRefused) as error:
        _log.error("to be sent again: %s", error)
        return "The database cannot take this now: send it again.\n", 503, {"Retry-After": "1"}
    return "", 204
