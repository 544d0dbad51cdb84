"""Tests of the ``recommend`` function with a database: ratings count at once, and faults fail no request."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psutil
import psycopg2
import pytest
from tests.functions.conftest import Start, wait_for_reply
from tests.servers.function import Function
from tests.serving.models import get_group, make_movie_id, release_still_model

from marquee.db.migrate import migrate
from marquee.events.batches import Record, StreamBatch
from marquee.events.envelopes import encode_batch, to_http
from marquee.local.embedded_postgres import EmbeddedPostgres
from marquee.registry.object_store.file_store import FileStore

pytestmark = [pytest.mark.servers, pytest.mark.long]


class EventDatabase:
    """A migrated database that tests write to, kill and start again."""

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
                (datetime.now(UTC), self._offset, user_id, make_movie_id(item), rating),
            )

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Stop every process of the server for the block."""
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
def database(tmp_path: Path) -> Iterator[EventDatabase]:
    database = EventDatabase(tmp_path / "postgres")
    yield database
    database.server.stop()
    shutil.rmtree(tmp_path / "postgres", ignore_errors=True)


def test_recommend_rating_counts_at_once_and_killed_database_fails_no_request(
    store: FileStore, start: Start, database: EventDatabase
) -> None:
    """The tier follows the database."""
    release_still_model(store)
    function = start(database_url=database.server.url)
    assert function.get("/recommend/77").headers["Marquee-Tier"] == "popular"
    database.rate("77", 9, 5)
    fresh = function.get("/recommend/77")
    assert (fresh.headers["Marquee-Tier"], {get_group(movie) for movie in fresh.movies}) == ("folded-in", {1})
    database.server.kill()
    for _ in range(10):
        reply = function.get("/recommend/77")
        assert (reply.status, reply.headers["Marquee-Tier"], reply.notes) == (
            200,
            "popular",
            "database-unavailable",
        )
    assert function.get("/recommend/1000").headers["Marquee-Tier"] == "personalised"
    database.server.start()
    wait_for_reply(lambda: function.get("/recommend/77"), lambda r: r.headers["Marquee-Tier"] == "folded-in")


def test_recommend_record_of_the_event_log_counts_in_the_next_answer(
    store: FileStore, start: Start, database: EventDatabase, tmp_path: Path
) -> None:
    """End to end: `ingest` takes a batch with one rating of a new user, and the next answer is folded in."""
    release_still_model(store)
    function = start(database_url=database.server.url)
    assert function.get("/recommend/78").headers["Marquee-Tier"] == "popular"
    line = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S},78,GET /rate/{make_movie_id(9)}=5"
    headers, body = to_http(encode_batch(StreamBatch("movielog", "id", 0, (Record(0, 0, line),))))
    with Function("ingest", tmp_path, {"MARQUEE_DATABASE_URL": database.server.url}) as ingest:
        assert ingest.get("/", method="POST", body=body, **headers).status == 204
        fresh = function.get("/recommend/78")
    assert (fresh.headers["Marquee-Tier"], {get_group(movie) for movie in fresh.movies}) == ("folded-in", {1})
    assert make_movie_id(9) not in fresh.movies


def test_recommend_hanging_database_costs_only_its_deadline(
    store: FileStore, start: Start, database: EventDatabase
) -> None:
    """Suspended, not killed: its port is open, and no response ever comes."""
    release_still_model(store)
    function = start(database_url=database.server.url, lookup_deadline_ms="50")
    wait_for_reply(lambda: function.get("/recommend/77"), lambda r: r.notes == "")
    with database.suspended():
        replies = [function.get("/recommend/1000") for _ in range(30)]
    assert {(r.status, r.headers["Marquee-Tier"], r.notes) for r in replies} == {
        (200, "personalised", "database-unavailable")
    }
    wait_for_reply(lambda: function.get("/recommend/1000"), lambda r: r.notes == "")


def test_recommend_without_release_uses_the_databases_popular_movies(start: Start, database: EventDatabase) -> None:
    """The best rated movie comes first."""
    for user in range(3):
        database.rate(str(user), 5, 5)
    database.rate("7", 6, 4)
    reply = start(database_url=database.server.url).get("/recommend/88")
    assert (reply.status, reply.headers["Marquee-Tier"], reply.movies[0]) == (
        200,
        "popular",
        make_movie_id(5),
    )
