"""The ``monitor`` function: called by the clock, it brings up to date what is known of how well all goes.

POST -> 200 and a summary as JSON, also where another run was at work; 503 where the database or the object
store is away; 500 where a task failed for another reason, with the summary that names it.
"""

from __future__ import annotations

import logging
import os
import threading
from functools import cache

import flask
import functions_framework
import msgspec

from marquee.config.settings import Settings
from marquee.db.pool import Database
from marquee.errors import DatabaseRefused, TransientError
from marquee.monitoring.run import Task, run_monitor
from marquee.monitoring.tasks import tasks
from marquee.registry.object_store.connect import connect
from marquee.registry.object_store.object_store import ObjectStore

_log = logging.getLogger("marquee.monitor")
_lock = (
    threading.Lock()
)  # Runs of other instances are kept apart by the database; the models are this process's.


@cache
def _assemble() -> tuple[Database, ObjectStore, tuple[Task, ...]]:
    settings = Settings.from_mapping(os.environ).require("database_url", "objects_url")
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    store = connect(settings.objects_url)
    return Database(settings.database_url, connections=2), store, tasks(store, settings)


@functions_framework.http
def monitor(request: flask.Request) -> flask.Response:
    if request.path == "/healthz":  # The process lives, whatever its settings are.
        return _answer(200, b"ok\n", "text/plain")
    if request.method != "POST":
        return _answer(405, b"POST to run the monitor once.\n", "text/plain", Allow="POST")
    try:
        with _lock:
            summary = run_monitor(*_assemble())
    except (TransientError, DatabaseRefused) as error:
        _log.error("nothing was done: %s", error)
        return _answer(503, b"The database cannot be asked now.\n", "text/plain", **{"Retry-After": "60"})
    status = 200 if not summary.failed else 503 if summary.transient else 500
    return _answer(status, msgspec.json.encode(summary) + b"\n", "application/json")


def _answer(status: int, body: bytes, kind: str, **headers: str) -> flask.Response:
    return flask.Response(body, status, headers, content_type=kind)
