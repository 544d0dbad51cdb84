"""Function ``monitor``, called by the scheduler: runs the tasks of the monitor once.

POST returns a JSON summary with status 200, also if another run is active. The status is 503 if the database or the
object store is unavailable, and 500 if a task failed for another reason; the summary names it.
"""

from __future__ import annotations

import logging
import os
import threading
from functools import cache

import flask
import functions_framework
import msgspec

from marquee.config.function_server import prepare_server
from marquee.config.needs import NEEDS
from marquee.config.settings import Settings
from marquee.db.pool import Database
from marquee.errors import DatabaseRefused, TransientError
from marquee.monitoring.run import Task, run_monitor
from marquee.monitoring.tasks import create_tasks
from marquee.registry.object_store.connect import connect
from marquee.registry.object_store.object_store import ObjectStore

_log = logging.getLogger("marquee.monitor")
# The tasks cache models and are not thread-safe. The database keeps runs of other instances apart.
_lock = threading.Lock()


@cache
def _assemble() -> tuple[Database, ObjectStore, tuple[Task, ...]]:
    settings = Settings.from_mapping(os.environ, NEEDS["monitor"])
    settings.require("database_url", "objects_url")
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    store = connect(settings.objects_url, read_only=True)
    tasks = create_tasks(store, settings, cache(lambda: connect(settings.objects_url)))
    return Database(settings.database_url, connections=2), store, tasks


@functions_framework.http
def monitor(request: flask.Request) -> flask.Response:
    """Handle one request: run the monitor on POST, report liveness on GET /healthz."""
    if request.path == "/healthz":  # Liveness, independent of the settings.
        return _respond(200, b"ok\n", "text/plain")
    if request.method != "POST":
        return _respond(405, b"POST to run the monitor once.\n", "text/plain", Allow="POST")
    try:
        with _lock:
            summary = run_monitor(*_assemble())
    except (TransientError, DatabaseRefused) as error:
        _log.error("No task was run: %s", error)
        return _respond(503, b"The database is unavailable.\n", "text/plain", **{"Retry-After": "60"})
    status = 200 if not summary.failed else 503 if summary.transient else 500
    return _respond(status, msgspec.json.encode(summary) + b"\n", "application/json")


def _respond(status: int, body: bytes, kind: str, **headers: str) -> flask.Response:
    return flask.Response(body, status, headers, content_type=kind)


if flask.has_app_context():  # The framework loads a function within its application.
    prepare_server(flask.current_app)
