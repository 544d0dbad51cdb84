"""Runs of the prequential evaluation: late ratings, kills, overlapping runs, and a limited time budget."""

from __future__ import annotations

import threading
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from tests.monitoring.live_stream import NOW, LiveStream, at, follow, read_predictions, release_at
from tests.serving.models import store_model, two_group_model
from tests.support.records import rows

from marquee.db.pool import Database
from marquee.errors import DatabaseUnavailable
from marquee.monitoring.live_predictions import LATE, LivePredictions
from marquee.monitoring.served_prediction import Predictor
from marquee.registry.object_store.file_store import FileStore

pytestmark = pytest.mark.servers


def test_follow_second_run_changes_nothing(each_database: Database, store: FileStore) -> None:
    """A second run writes only what is new and leaves earlier rows as they are."""
    stream = LiveStream(each_database)
    release_at(store, 0, control=store_model(store))
    for user in range(7):
        stream.rate(1, user, 20, 3, partition=user % 2)
    assert follow(each_database, store, page=3) == 7
    before = rows(each_database, 'SELECT * FROM predictions ORDER BY partition, "offset"')
    assert follow(each_database, store, page=3) == 0
    stream.rate(2, 8, 20, 3)
    assert follow(each_database, store) == 1
    assert (
        rows(each_database, 'SELECT * FROM predictions WHERE time < %s ORDER BY partition, "offset"', at(2)) == before
    )


def test_follow_late_rating_is_evaluated_within_limit(database: Database, store: FileStore, stream: LiveStream) -> None:
    """Lateness is measured within a partition: one that was held up for a day is evaluated in full."""
    release_at(store, 0, control=store_model(store))
    stream.rate(20, 1, 20, 4)
    stream.rate(1, 2, 20, 4, partition=1)
    assert follow(database, store) == 2
    stream.rate(20 - LATE / timedelta(hours=1) + 0.1, 3, 20, 4)
    stream.rate(20 - LATE / timedelta(hours=1) - 0.1, 4, 20, 4)
    stream.rate(2, 5, 20, 4, partition=1)
    assert follow(database, store) == 2
    assert {row[0] for row in read_predictions(database)} == {"1", "2", "3", "5"}


def test_follow_waits_for_ratings_to_settle(database: Database, store: FileStore, stream: LiveStream) -> None:
    """A rating is evaluated 10 s after its time, not before."""
    release_at(store, 0, control=store_model(store))
    stream.rate(1, 1000, 20, 4)
    assert follow(database, store, at(1) + timedelta(seconds=9)) == 0
    assert follow(database, store, at(1) + timedelta(seconds=11)) == 1


def test_follow_same_process_sees_new_release(database: Database, store: FileStore, stream: LiveStream) -> None:
    """A process uses releases that are published between its runs."""
    live_predictions = LivePredictions(Predictor(store))
    release_at(store, 0, control=(first := store_model(store)))
    stream.rate(1, 1000, 20, 4)
    live_predictions.follow(database, at(2))
    release_at(store, 3, control=(second := store_model(store, two_group_model(mean=2.5), at(2))))
    stream.rate(4, 1002, 20, 4)
    live_predictions.follow(database, NOW)
    assert [row[2] for row in read_predictions(database)] == [first, second]


class FailingDatabase(Database):
    """Database that becomes unavailable after a number of transactions."""

    def __init__(self, url: str, transactions: int) -> None:
        super().__init__(url)
        self._remaining = transactions

    def transaction(self, **options: Any) -> Any:
        if not self._remaining:
            raise DatabaseUnavailable("killed")
        self._remaining -= 1
        return super().transaction(**options)


def follow_and_kill(pages: int, database_url: str, store: FileStore) -> None:
    """Run with pages of three ratings, and fail after ``pages`` of them."""
    database = FailingDatabase(database_url, pages)
    with closing(database), pytest.raises(DatabaseUnavailable, match="killed"):
        follow(database, store, page=3)


def test_follow_after_kill_writes_missing_ratings(
    database: Database, store: FileStore, stream: LiveStream, database_url: str
) -> None:
    """The next run writes exactly the ratings that the killed run did not."""
    release_at(store, 0, control=store_model(store))
    for user in range(10):
        stream.rate(1 + user / 10, user, 20, 3)
    follow_and_kill(1, database_url, store)
    assert len(read_predictions(database)) == 3
    assert follow(database, store, page=3) == 7
    assert [row[0] for row in read_predictions(database)] == [str(user) for user in range(10)]


def test_follow_two_runs_at_once_write_each_rating_once(
    database: Database, store: FileStore, stream: LiveStream, database_url: str
) -> None:
    """Runs may overlap, as after a run that was suspended and lost its lock."""
    release_at(store, 0, control=store_model(store))
    for user in range(60):
        stream.rate(1 + user / 100, user, 20, 3)

    def run() -> None:
        with closing(Database(database_url)) as own:
            follow(own, store, page=7)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rows(database, "SELECT count(*), count(DISTINCT user_id) FROM predictions") == [(60, 60)]


def test_follow_without_time_is_behind(database: Database, store: FileStore, stream: LiveStream) -> None:
    """A run without time left evaluates nothing and reports that it is behind."""
    release_at(store, 0, control=store_model(store))
    stream.rate(1, 1, 20, 3)
    result = LivePredictions(Predictor(store), budget_s=-1).follow(database, NOW)
    assert (result.ratings, result.is_behind) == (0, True)


def test_follow_backlog_does_not_delay_other_partition(
    database: Database, store: FileStore, stream: LiveStream, database_url: str
) -> None:
    """A run takes one page of each partition in turn and begins with the one furthest behind."""
    release_at(store, 0, control=store_model(store))
    for user in range(12):
        stream.rate(1 + user / 100, user, 20, 3)
    stream.rate(8, 50, 20, 3, partition=1)
    follow_and_kill(2, database_url, store)
    assert [row[0] for row in read_predictions(database)] == ["0", "1", "2", "50"]
    stream.rate(9, 51, 20, 3, partition=1)
    follow_and_kill(1, database_url, store)
    assert [row[0] for row in read_predictions(database)] == ["0", "1", "2", "3", "4", "5", "50"]
    assert follow(database, store, page=3) == 7
