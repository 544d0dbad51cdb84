"""Online predictions: what was predicted then, and nothing that was learnt later."""

from __future__ import annotations

import threading
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.recommend.models import TRAINED_THROUGH, corrupt, movie, two_tastes, written
from tests.telemetry.lines import rows

from marquee.artifacts.artifact import write_artifact
from marquee.artifacts.file import FileStore
from marquee.artifacts.manifest import Band
from marquee.artifacts.release import Arm, new_release, publish
from marquee.errors import DatabaseUnavailable
from marquee.evaluation import accuracy
from marquee.evaluation.online import LATE, OnlinePredictions
from marquee.evaluation.prediction import (
    NO_MODEL,
    RATED_BEFORE,
    UNKNOWN_FILM,
    Predictor,
)
from marquee.evaluation.running import RunningErrors
from marquee.telemetry.database import Database

pytestmark = pytest.mark.servers

START = TRAINED_THROUGH + timedelta(days=1)
NOW = START + timedelta(days=3)
PREDICTED = """
SELECT user_id, predicted, model_version, arm, source, reason FROM predictions
ORDER BY time, stream, partition, "offset\""""


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


class Stream:
    """Writes ratings and impressions as ``ingest`` would."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._offsets = {0: 0, 1: 0}
        with database.transaction() as cursor:
            cursor.execute("INSERT INTO streams (topic, topic_id) VALUES ('movielog', 'a') RETURNING stream")
            self._stream = cursor.fetchone()[0]
            for partition in self._offsets:
                cursor.execute(
                    "INSERT INTO progress VALUES (%s, %s, 0, 0, 0, 0, 0, 0, now())", (self._stream, partition)
                )

    def rate(self, hours: float, user_id: int, item: int | str, rating: int, partition: int = 0) -> None:
        self._offsets[partition] += 1
        movie_id = item if isinstance(item, str) else movie(item)
        with self._database.transaction() as cursor:
            cursor.execute(
                'INSERT INTO ratings (time, stream, partition, "offset", user_id, movie_id, rating)'
                " VALUES (%s, %s, %s, %s, %s, %s, %s)",
                (
                    at(hours),
                    self._stream,
                    partition,
                    self._offsets[partition],
                    str(user_id),
                    movie_id,
                    rating,
                ),
            )

    def show(
        self, hours: float, user_id: int, version: str, ratings: dict[int, float | None], arm: str = "control"
    ) -> None:
        films = [
            {"movie_id": movie(item), "score": 1.0, "rating": rating, "propensity": 1.0}
            for item, rating in ratings.items()
        ]
        with self._database.transaction() as cursor:
            cursor.execute(
                "INSERT INTO impressions VALUES (%s, %s, %s, %s, %s, 1, 'personalised', %s)",
                (
                    at(hours),
                    f"{user_id}-{hours}",
                    str(user_id),
                    arm,
                    version,
                    msgspec.json.encode(films).decode(),
                ),
            )


@pytest.fixture
def database(plain: Database) -> Database:
    return plain


@pytest.fixture
def stream(database: Database) -> Stream:
    return Stream(database)


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "objects")


def follow(database: Database, store: FileStore, now: datetime = NOW, **options: Any) -> int:
    """One run of a process that knows nothing of those before; how many ratings it took up."""
    return OnlinePredictions(Predictor(store), **options).follow(database, now).ratings


def predictions(database: Database) -> list[tuple[Any, ...]]:
    return list(rows(database, PREDICTED))


def errors(database: Database) -> list[float]:
    return [
        float(e)
        for (e,) in rows(database, 'SELECT predicted - rating FROM predictions ORDER BY time, "offset"')
    ]


def release_at(store: FileStore, hours: float, **shares: str) -> None:
    """A release of arms, each name a version, published at a given hour."""
    arms = tuple(Arm(name, version, 1 / len(shares)) for name, version in shares.items())
    publish(
        store,
        lambda before: msgspec.structs.replace(
            new_release(arms, author="test", reason="", after=before), created=at(hours)
        ),
    )


def test_what_is_predicted_by_hand(both: Database, store: FileStore) -> None:
    """Users of even ids are predicted 4 for group 0 and 2 for group 1: errors 0, -1 and +1."""
    stream = Stream(both)
    release_at(store, 0, control=(version := written(store)))
    # Three of them: what one rated before would change what is predicted for him next.
    for user, item, rating in [(1000, 20, 4), (1002, 22, 5), (1004, 21, 1)]:
        stream.rate(1, user, item, rating)
    assert follow(both, store) == 3
    assert errors(both) == pytest.approx([0, -1, 1])
    assert {row[2:] for row in predictions(both)} == {(version, "control", "computed", "")}
    found = accuracy.since(both, at(0))
    assert found is not None
    assert (found.ratings, found.mae.value) == (3, pytest.approx(2 / 3))
    assert found.rmse.value == pytest.approx((2 / 3) ** 0.5)


def test_run_twice_it_changes_nothing(both: Database, store: FileStore) -> None:
    stream = Stream(both)
    release_at(store, 0, control=written(store))
    for user in range(7):
        stream.rate(1, user, 20, 3, partition=user % 2)
    assert follow(both, store, page=3) == 7
    before = rows(both, 'SELECT * FROM predictions ORDER BY partition, "offset"')
    assert follow(both, store, page=3) == 0
    stream.rate(2, 8, 20, 3)
    assert follow(both, store) == 1
    assert (
        rows(both, 'SELECT * FROM predictions WHERE time < %s ORDER BY partition, "offset"', at(2)) == before
    )


def test_each_rating_by_the_version_that_served_then(
    database: Database, store: FileStore, stream: Stream
) -> None:
    """The second model says half a point less; a rollback brings the first one back."""
    first = written(store)
    second = written(store, two_tastes(mean=2.5), TRAINED_THROUGH + timedelta(minutes=5))
    release_at(store, 0, control=first)
    release_at(store, 10, control=second)
    release_at(store, 20, control=first)
    for hours, user in [(5, 1000), (15, 1002), (25, 1004)]:
        stream.rate(hours, user, 20, 4)
    follow(database, store)
    assert [row[2] for row in predictions(database)] == [first, second, first]
    assert errors(database) == pytest.approx([0, -0.5, 0])


def test_each_user_by_his_own_arm(database: Database, store: FileStore, stream: Stream) -> None:
    low = written(store, two_tastes(mean=2.5), TRAINED_THROUGH + timedelta(minutes=5))
    release_at(store, 0, control=(high := written(store)), canary=low)
    for user in range(40):
        stream.rate(1 + user / 100, user, 20, 3)
    follow(database, store)
    assert {(row[2], row[3]) for row in predictions(database)} == {(high, "control"), (low, "canary")}
    assert {round(e, 3) for e in errors(database)} == {0.0, -0.5}


def test_never_by_a_model_that_may_have_learnt_from_it(
    database: Database, store: FileStore, stream: Stream
) -> None:
    """A release back-dated before the end of its training: neither its answer nor its list predicts anything."""
    release_at(store, 0, control=(version := written(store, through=at(2))))
    stream.show(0.5, 1000, version, {20: 4.5})
    for hours, item in ((1, 20), (2, 22), (3, 24)):
        stream.rate(hours, 1000, item, 4)
    follow(database, store)
    assert [row[5] for row in predictions(database)] == [NO_MODEL, NO_MODEL, ""]


def test_what_a_user_rated_before_counts_and_what_he_rates_after_does_not(
    database: Database, store: FileStore, stream: Stream
) -> None:
    """Somebody new: the first prediction knows nothing, the last one follows four ratings of 5. And that though
    all five are taken up at once."""
    release_at(store, 0, control=written(store))
    for hours, item in enumerate([20, 22, 24, 26, 28]):
        stream.rate(hours + 1, 77, item, 5)
    follow(database, store)
    off = [abs(e) for e in errors(database)]
    assert off[0] == pytest.approx(2.0)
    assert off == sorted(off, reverse=True)
    assert off[-1] < 0.2


def test_what_cannot_be_predicted_says_why(database: Database, store: FileStore, stream: Stream) -> None:
    release_at(store, 2, control=written(store))
    release_at(store, 3, control=written(store, two_tastes(mean=2.5), TRAINED_THROUGH + timedelta(minutes=5)))
    stream.rate(3, 1000, "unheard+of+2031", 4)
    stream.rate(4, 1000, 20, 4)
    stream.rate(5, 1000, 20, 5)  # The first may have been learnt from, and is in the profile anyway.
    stream.rate(6, 1002, 0, 5)  # The artifact knows that he has rated it.
    follow(database, store)
    assert [row[5] for row in predictions(database)] == [UNKNOWN_FILM, "", RATED_BEFORE, RATED_BEFORE]


def test_before_the_first_release_nothing_is_followed(
    database: Database, store: FileStore, stream: Stream
) -> None:
    stream.rate(1, 1000, 20, 4)
    assert follow(database, store) == 0
    release_at(store, 2, control=written(store))
    stream.rate(3, 1000, 22, 4)
    assert follow(database, store) == 1


def test_a_refused_release_never_served(database: Database, store: FileStore, stream: Stream) -> None:
    good = written(store)
    bad = written(store, two_tastes(mean=2.5), TRAINED_THROUGH + timedelta(minutes=5))
    corrupt(store, bad, "item_vectors.npy")
    release_at(store, 0, control=good)
    release_at(store, 1, control=bad)
    stream.rate(2, 1000, 20, 4)
    follow(database, store)
    assert [row[2] for row in predictions(database)] == [good]


def test_the_newest_list_before_the_rating_speaks(both: Database, store: FileStore) -> None:
    """Not a later one, not one of another user or film, and not one that rated nothing."""
    stream = Stream(both)
    release_at(store, 0, control=(version := written(store)))
    stream.show(1, 1000, version, {20: 4.9, 22: 4.8})
    stream.show(2, 1000, version, {20: 4.1})
    stream.show(3, 1000, version, {20: 1.0})  # As late as the rating.
    stream.show(4, 1000, version, {20: 1.5})
    stream.show(2.5, 1002, version, {20: 2.0})
    stream.show(2.5, 1004, version, {24: None})
    stream.rate(3, 1000, 20, 4)
    stream.rate(3.5, 1004, 24, 4)
    follow(both, store)
    assert [(row[1], row[4]) for row in predictions(both)] == [(4.1, "impression"), (4.0, "computed")]
    assert rows(both, "SELECT impression, tier FROM predictions WHERE source = 'impression'") == [
        ("1000-2", "personalised")
    ]


def test_each_prediction_has_the_interval_that_it_had_then(
    database: Database, store: FileStore, stream: Stream
) -> None:
    """Wider for whom nothing is known of, clipped to the scale; a list's as of the list, not of the rating."""
    bands = (Band(0, -1.5, 1.5), Band(1, -0.5, 0.25))
    version = write_artifact(store, two_tastes(), trained_through=TRAINED_THROUGH, bands=bands)
    release_at(store, 0, control=version)
    stream.show(0.5, 77, version, {24: 4.0})
    stream.rate(1, 1000, 20, 4)  # The artifact knows two ratings of his.
    stream.rate(2, 77, 20, 3)
    stream.rate(3, 77, 24, 3)
    follow(database, store)
    found = rows(database, "SELECT source, low, high, share FROM predictions ORDER BY time")
    assert found == [
        ("computed", pytest.approx(3.5), pytest.approx(4.25), 0.8),
        ("computed", pytest.approx(1.5), pytest.approx(4.5), 0.8),
        ("impression", 2.5, 5.0, 0.8),
    ]


def test_a_late_line_is_taken_up_and_a_very_late_one_is_not(
    database: Database, store: FileStore, stream: Stream
) -> None:
    """Late is measured in its own partition: one that was held up for a day is followed from where it was."""
    release_at(store, 0, control=written(store))
    stream.rate(20, 1, 20, 4)
    stream.rate(1, 2, 20, 4, partition=1)
    assert follow(database, store) == 2
    stream.rate(20 - LATE / timedelta(hours=1) + 0.1, 3, 20, 4)
    stream.rate(20 - LATE / timedelta(hours=1) - 0.1, 4, 20, 4)
    stream.rate(2, 5, 20, 4, partition=1)
    assert follow(database, store) == 2
    assert {row[0] for row in predictions(database)} == {"1", "2", "3", "5"}


def test_ratings_settle_before_they_are_taken_up(
    database: Database, store: FileStore, stream: Stream
) -> None:
    release_at(store, 0, control=written(store))
    stream.rate(1, 1000, 20, 4)
    assert follow(database, store, at(1) + timedelta(seconds=9)) == 0
    assert follow(database, store, at(1) + timedelta(seconds=11)) == 1


def test_a_release_that_comes_later_is_seen(database: Database, store: FileStore, stream: Stream) -> None:
    """By one and the same process."""
    online = OnlinePredictions(Predictor(store))
    release_at(store, 0, control=(first := written(store)))
    stream.rate(1, 1000, 20, 4)
    online.follow(database, at(2))
    release_at(store, 3, control=(second := written(store, two_tastes(mean=2.5), at(2))))
    stream.rate(4, 1002, 20, 4)
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
    database: Database, store: FileStore, stream: Stream, database_url: str
) -> None:
    release_at(store, 0, control=written(store))
    for user in range(10):
        stream.rate(1 + user / 10, user, 20, 3)
    killed_after(1, database_url, store)
    assert len(predictions(database)) == 3
    assert follow(database, store, page=3) == 7
    assert [row[0] for row in predictions(database)] == [str(user) for user in range(10)]


def test_two_at_once_write_each_rating_once(
    database: Database, store: FileStore, stream: Stream, database_url: str
) -> None:
    """As when the lock of a frozen run is lost."""
    release_at(store, 0, control=written(store))
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


def test_out_of_time_it_leaves_the_rest_to_the_next_run(
    database: Database, store: FileStore, stream: Stream
) -> None:
    release_at(store, 0, control=written(store))
    stream.rate(1, 1, 20, 3)
    done = OnlinePredictions(Predictor(store), budget_s=-1).follow(database, NOW)
    assert (done.ratings, done.behind) == (0, True)


def test_a_long_backlog_does_not_keep_the_other_partition_waiting(
    database: Database, store: FileStore, stream: Stream, database_url: str
) -> None:
    """The run ends after two pages: one of each. The next begins with the partition that is further behind."""
    release_at(store, 0, control=written(store))
    for user in range(12):
        stream.rate(1 + user / 100, user, 20, 3)
    stream.rate(8, 50, 20, 3, partition=1)
    killed_after(2, database_url, store)
    assert [row[0] for row in predictions(database)] == ["0", "1", "2", "50"]
    stream.rate(9, 51, 20, 3, partition=1)
    killed_after(1, database_url, store)
    assert [row[0] for row in predictions(database)] == ["0", "1", "2", "3", "4", "5", "50"]
    assert follow(database, store, page=3) == 7


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """60 experiments of 80 users whose errors hang together; the true RMSE is known."""
    rng = np.random.default_rng(3)
    truth, held = (0.5**2 + 0.5**2) ** 0.5, 0
    for experiment in range(60):
        errors_ = RunningErrors()
        for user in range(80):
            own = rng.normal(0, 0.5)
            for _ in range(5):
                error = own + rng.normal(0, 0.5)
                errors_.add(f"{experiment}/{user}", 1, error**2, abs(error))
        found = errors_.accuracy()
        assert found is not None
        assert found.rmse.low is not None
        assert found.rmse.high is not None
        assert found.rmse.low < found.rmse.value < found.rmse.high
        held += found.rmse.low <= truth <= found.rmse.high
    assert held >= 50


def test_nothing_yet_is_none() -> None:
    assert RunningErrors().accuracy() is None
