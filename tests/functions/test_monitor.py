"""Tests of the ``monitor`` function as a real functions-framework process, on the wire."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from tests.servers.function import Function
from tests.serving.models import make_movie_id, release_model
from tests.support.records import batch, rate, rows

from marquee.db.migrate import migrate
from marquee.db.pool import Database
from marquee.events.parser import EventParser
from marquee.ingest.store import write_batch
from marquee.local.embedded_postgres import EmbeddedPostgres
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.object_store.obstore_reader import ObstoreReader

pytestmark = pytest.mark.servers
ROOT = Path(__file__).parents[2]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server that the test may stop and start again."""
    with EmbeddedPostgres(tmp_path / "postgres") as server:
        migrate(server.url)
        yield server


def test_monitor_post_runs_and_returns_the_result(server: EmbeddedPostgres, tmp_path: Path) -> None:
    """503 while the database is away, 200 once it is back."""
    objects = FileStore(tmp_path / "objects")
    release_model(objects, through=datetime.now(UTC) - timedelta(days=2))
    settings = {"MARQUEE_DATABASE_URL": server.url, "MARQUEE_OBJECTS_URL": objects.root.as_uri()}
    with Function("monitor", tmp_path, settings) as monitor, closing(Database(server.url)) as database:
        assert (monitor.get("/healthz").status, monitor.get("/").status) == (200, 405)
        now = f"{datetime.now(UTC) - timedelta(seconds=30):%Y-%m-%dT%H:%M:%S}"
        write_batch(database, batch([rate(1000, 4, make_movie_id(20), now)]), EventParser(ZoneInfo("UTC")))
        first = monitor.get("/", "POST")
        assert (first.status, first.headers["Content-Type"]) == (200, "application/json")
        assert first.document["ran"] is True
        assert rows(database, "SELECT count(*) FROM monitor_runs WHERE error <> ''") == [(0,)]
        assert rows(database, "SELECT predicted FROM predictions") in ([], [(pytest.approx(4.0),)])
        server.stop()
        assert monitor.get("/", "POST").status == 503
        server.start()
        assert monitor.get("/", "POST").status == 200


@pytest.mark.parametrize("url", ["gs://bucket/prefix", "s3://bucket/prefix"])
def test_monitor_reads_cloud_storage_by_the_client_of_its_list(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """requirements/monitor.txt has obstore, and no client that can write."""
    monkeypatch.setenv("MARQUEE_OBJECTS_URL", url)
    monkeypatch.setenv("MARQUEE_DATABASE_URL", "postgresql://app@127.0.0.1:1/marquee")
    _, store, tasks = runpy.run_path(str(ROOT / "functions/monitor/main.py"))["_assemble"]()
    assert isinstance(store, ObstoreReader)
    assert tasks
