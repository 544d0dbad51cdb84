"""The ``recommend`` function with the telemetry's database: ratings count at once, and its faults fail nobody."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psutil
import psycopg2
import pytest
from tests.functions.conftest import Start, eventually
from tests.servers.function import Function
from tests.serving.models import group_of, movie_id_of, released

from marquee.db.migrate import migrate
from marquee.events.batches import Record, StreamBatch
from marquee.events.envelopes import encode_batch, to_http
from marquee.local.embedded_postgres import EmbeddedPostgres
from marquee.registry.object_store.file_store import FileStore

pytestmark = [pytest.mark.servers, pytest.mark.long]


class Telemetry:
    """A database with the telemetry's tables, to be written to, killed and started again."""

    def __init__(self, directory: Path) -> None:
        self.server = EmbeddedPostgres(directory)
        self.server.start()
        migrate(self.server.url)
        self._offset = 0

    def rate(self, user_id: str, item: int, rating: int) -> None:
        self._offset += 1
        with (
            closing(psycopg2.connect(self.server.url)) as connection,
            connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(
                "INSERT INTO topics (topic, topic_id) VALUES ('t', 't') ON CONFLICT DO NOTHING;"
                'INSERT INTO ratings (time, topic_key, partition, "offset", user_id, movie_id, rating)'
                " VALUES (%s, 1, 0, %s, %s, %s, %s)",
                (datetime.now(UTC), self._offset, user_id, movie_id_of(item), rating),
            )

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Every process of the server stopped, for a while."""
        master = psutil.Process(self.server.pid)
        processes = [master, *master.children(recursive=True)]
        for process in processes:
            process.suspend()
        try:
            yield
        finally:
            for process in processes:
                process.resume()


@pytest.fixture
def telemetry(tmp_path: Path) -> Iterator[Telemetry]:
    telemetry = Telemetry(tmp_path / "postgres")
    yield telemetry
    telemetry.server.stop()
    shutil.rmtree(tmp_path / "postgres", ignore_errors=True)


def test_a_rating_counts_in_the_next_answer_and_a_killed_database_fails_nobody(
    store: FileStore, start: Start, telemetry: Telemetry
) -> None:
    released(store)
    function = start(database_url=telemetry.server.url)
    assert function.get("/recommend/77").headers["Marquee-Tier"] == "popular"
    telemetry.rate("77", 9, 5)
    fresh = function.get("/recommend/77")
    assert (fresh.headers["Marquee-Tier"], {group_of(movie) for movie in fresh.movies}) == ("folded-in", {1})
    telemetry.server.kill()
    for _ in range(10):
        reply = function.get("/recommend/77")
        assert (reply.status, reply.headers["Marquee-Tier"], reply.notes) == (
            200,
            "popular",
            "database-unavailable",
        )
    assert function.get("/recommend/1000").headers["Marquee-Tier"] == "personalised"
    telemetry.server.start()
    eventually(lambda: function.get("/recommend/77"), lambda r: r.headers["Marquee-Tier"] == "folded-in")


def test_a_line_of_the_log_counts_in_the_very_next_answer(
    store: FileStore, start: Start, telemetry: Telemetry, tmp_path: Path
) -> None:
    """From end to end: `ingest` takes a batch with one rating of a brand-new user, and the answer that is
    asked for next is his own."""
    released(store)
    function = start(database_url=telemetry.server.url)
    assert function.get("/recommend/78").headers["Marquee-Tier"] == "popular"
    line = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S},78,GET /rate/{movie_id_of(9)}=5"
    headers, body = to_http(encode_batch(StreamBatch("movielog", "id", 0, (Record(0, 0, line),))))
    with Function("ingest", tmp_path, {"MARQUEE_DATABASE_URL": telemetry.server.url}) as ingest:
        assert ingest.get("/", method="POST", body=body, **headers).status == 204
        fresh = function.get("/recommend/78")
    assert (fresh.headers["Marquee-Tier"], {group_of(movie) for movie in fresh.movies}) == ("folded-in", {1})
    assert movie_id_of(9) not in fresh.movies


def test_a_database_that_hangs_costs_its_deadline_and_then_nothing(
    store: FileStore, start: Start, telemetry: Telemetry
) -> None:
    """Stopped, not killed: its port is open, and nothing ever comes back."""
    released(store)
    function = start(database_url=telemetry.server.url, history_deadline_ms="50")
    eventually(lambda: function.get("/recommend/77"), lambda r: r.notes == "")
    with telemetry.hanging():
        replies = [function.get("/recommend/1000") for _ in range(30)]
    assert {(r.status, r.headers["Marquee-Tier"], r.notes) for r in replies} == {
        (200, "personalised", "database-unavailable")
    }
    eventually(lambda: function.get("/recommend/1000"), lambda r: r.notes == "")


def test_without_a_release_the_database_tells_what_is_popular(start: Start, telemetry: Telemetry) -> None:
    for user in range(3):
        telemetry.rate(str(user), 5, 5)
    telemetry.rate("7", 6, 4)
    reply = start(database_url=telemetry.server.url).get("/recommend/88")
    assert (reply.status, reply.headers["Marquee-Tier"], reply.movies[0]) == (200, "popular", movie_id_of(5))
