"""Runs of the online predictions: late lines, kills, two at once, and time that runs out."""

from __future__ import annotations

import threading
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from tests.monitoring.live_stream import NOW, Stream, at, follow, predictions, release_at
from tests.serving.models import two_tastes, written
from tests.support.records import rows

from marquee.db.pool import Database
from marquee.errors import DatabaseUnavailable
from marquee.monitoring.live_predictions import LATE, LivePredictions
from marquee.monitoring.served_prediction import Predictor
from marquee.registry.object_store.file_store import FileStore

pytestmark = pytest.mark.servers


def test_run_twice_it_changes_nothing(both: Database, store: FileStore) -> None:
    topic_key = Stream(both)
    release_at(store, 0, control=written(store))
    for user in range(7):
        topic_key.rate(1, user, 20, 3, partition=user % 2)
    assert follow(both, store, page=3) == 7
    before = rows(both, 'SELECT * FROM predictions ORDER BY partition, "offset"')
    assert follow(both, store, page=3) == 0
    topic_key.rate(2, 8, 20, 3)
    assert follow(both, store) == 1
    assert (
        rows(both, 'SELECT * FROM predictions WHERE time < %s ORDER BY partition, "offset"', at(2)) == before
    )


def test_a_late_line_is_taken_up_and_a_very_late_one_is_not(
    database: Database, store: FileStore, topic_key: Stream
) -> None:
    """Late is measured in its own partition: one that was held up for a day is followed from where it was."""
    release_at(store, 0, control=written(store))
    topic_key.rate(20, 1, 20, 4)
    topic_key.rate(1, 2, 20, 4, partition=1)
    assert follow(database, store) == 2
    topic_key.rate(20 - LATE / timedelta(hours=1) + 0.1, 3, 20, 4)
    topic_key.rate(20 - LATE / timedelta(hours=1) - 0.1, 4, 20, 4)
    topic_key.rate(2, 5, 20, 4, partition=1)
    assert follow(database, store) == 2
    assert {row[0] for row in predictions(database)} == {"1", "2", "3", "5"}


def test_ratings_settle_before_they_are_taken_up(
    database: Database, store: FileStore, topic_key: Stream
) -> None:
    release_at(store, 0, control=written(store))
    topic_key.rate(1, 1000, 20, 4)
    assert follow(database, store, at(1) + timedelta(seconds=9)) == 0
    assert follow(database, store, at(1) + timedelta(seconds=11)) == 1


def test_a_release_that_comes_later_is_seen(database: Database, store: FileStore, topic_key: Stream) -> None:
    """By one and the same process."""
    online = LivePredictions(Predictor(store))
    release_at(store, 0, control=(first := written(store)))
    topic_key.rate(1, 1000, 20, 4)
    online.follow(database, at(2))
    release_at(store, 3, control=(second := written(store, two_tastes(mean=2.5), at(2))))
    topic_key.rate(4, 1002, 20, 4)
    online.follow(database, NOW)
    assert [row[2] for row in predictions(database)] == [first, second]


class Dying(Database):
    """Loses its server after so many transactions."""

    left = 1

    def transaction(self, **options: Any) -> Any:
        if not self.left:
            raise DatabaseUnavailable("killed")
        self.left -= 1
        return super().transaction(**options)


def killed_after(pages: int, database_url: str, store: FileStore) -> None:
    """A run with pages of three ratings that is killed after so many of them."""
    with closing(Dying(database_url)) as dying:
        dying.left = pages
        with pytest.raises(DatabaseUnavailable, match="killed"):
            follow(dying, store, page=3)


def test_killed_at_any_page_it_comes_back_whole(
    database: Database, store: FileStore, topic_key: Stream, database_url: str
) -> None:
    release_at(store, 0, control=written(store))
    for user in range(10):
        topic_key.rate(1 + user / 10, user, 20, 3)
    killed_after(1, database_url, store)
    assert len(predictions(database)) == 3
    assert follow(database, store, page=3) == 7
    assert [row[0] for row in predictions(database)] == [str(user) for user in range(10)]


def test_two_at_once_write_each_rating_once(
    database: Database, store: FileStore, topic_key: Stream, database_url: str
) -> None:
    """As when the lock of a frozen run is lost."""
    release_at(store, 0, control=written(store))
    for user in range(60):
        topic_key.rate(1 + user / 100, user, 20, 3)

    def run() -> None:
        with closing(Database(database_url)) as own:
            follow(own, store, page=7)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rows(database, "SELECT count(*), count(DISTINCT user_id) FROM predictions") == [(60, 60)]


def test_out_of_time_it_leaves_the_rest_to_the_next_run(
    database: Database, store: FileStore, topic_key: Stream
) -> None:
    release_at(store, 0, control=written(store))
    topic_key.rate(1, 1, 20, 3)
    done = LivePredictions(Predictor(store), budget_s=-1).follow(database, NOW)
    assert (done.ratings, done.behind) == (0, True)


def test_a_long_backlog_does_not_keep_the_other_partition_waiting(
    database: Database, store: FileStore, topic_key: Stream, database_url: str
) -> None:
    """The run ends after two pages: one of each. The next begins with the partition that is further behind."""
    release_at(store, 0, control=written(store))
    for user in range(12):
        topic_key.rate(1 + user / 100, user, 20, 3)
    topic_key.rate(8, 50, 20, 3, partition=1)
    killed_after(2, database_url, store)
    assert [row[0] for row in predictions(database)] == ["0", "1", "2", "50"]
    topic_key.rate(9, 51, 20, 3, partition=1)
    killed_after(1, database_url, store)
    assert [row[0] for row in predictions(database)] == ["0", "1", "2", "3", "4", "5", "50"]
    assert follow(database, store, page=3) == 7
