"""The ``monitor`` function as a real functions-framework process, on the wire."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from tests.servers.function import Function
from tests.serving.models import movie_id_of, released
from tests.support.records import batch, rate, rows

from marquee.db.migrate import migrate
from marquee.db.pool import Database
from marquee.events.parser import EventParser
from marquee.ingest.store import write_batch
from marquee.local.embedded_postgres import EmbeddedPostgres
from marquee.registry.object_store.file_store import FileStore

pytestmark = pytest.mark.servers


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server that this test may end and start again."""
    with EmbeddedPostgres(tmp_path / "postgres") as server:
        migrate(server.url)
        yield server


def test_what_it_answers(server: EmbeddedPostgres, tmp_path: Path) -> None:
    """Runs at each POST and writes what it says; 503 while the database is away, and then as before."""
    objects = FileStore(tmp_path / "objects")
    released(objects, through=datetime.now(UTC) - timedelta(days=2))
    settings = {"MARQUEE_DATABASE_URL": server.url, "MARQUEE_OBJECTS_URL": objects.root.as_uri()}
    with Function("monitor", tmp_path, settings) as monitor, closing(Database(server.url)) as database:
        assert (monitor.get("/healthz").status, monitor.get("/").status) == (200, 405)
        now = f"{datetime.now(UTC) - timedelta(seconds=30):%Y-%m-%dT%H:%M:%S}"
        write_batch(database, batch([rate(1000, 4, movie_id_of(20), now)]), EventParser(ZoneInfo("UTC"), 5))
        first = monitor.get("/", "POST")
        assert (first.status, first.headers["Content-Type"]) == (200, "application/json")
        assert first.document["ran"] is True
        assert rows(database, "SELECT count(*) FROM monitor_runs WHERE error <> ''") == [(0,)]
        assert rows(database, "SELECT predicted FROM predictions") in ([], [(pytest.approx(4.0),)])
        server.stop()
        assert monitor.get("/", "POST").status == 503
        server.start()
        assert monitor.get("/", "POST").status == 200


def test_without_settings_it_says_what_it_lacks(tmp_path: Path) -> None:
    with Function("monitor", tmp_path, {}) as monitor:
        assert monitor.get("/healthz").status == 200
        assert monitor.get("/", "POST").status == 500
    assert "MARQUEE_DATABASE_URL is not set" in monitor.log.read_text()
