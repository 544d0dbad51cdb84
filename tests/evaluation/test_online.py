"""Live accuracy: what would have been predicted then, and nothing that was learnt later."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.recommend.models import TRAINED_THROUGH, corrupt, movie, two_tastes, written

from marquee.artifacts.file import FileStore
from marquee.artifacts.release import Arm, new_release, publish
from marquee.evaluation.online import NO_MODEL, NO_RELEASE, RATED_BEFORE, UNKNOWN_FILM, LiveAccuracy
from marquee.evaluation.running import RunningErrors
from marquee.telemetry.database import Database

pytestmark = pytest.mark.servers

START = TRAINED_THROUGH + timedelta(days=1)
MUCH_LATER = START + timedelta(days=30)


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


class Ratings:
    """Writes ratings as ``ingest`` would."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._offset = 0
        with database.transaction() as cursor:
            cursor.execute("INSERT INTO streams (topic, topic_id) VALUES ('movielog', 'a') RETURNING stream")
            self._stream = cursor.fetchone()[0]

    def add(self, hours: float, user_id: int, item: int | str, rating: int) -> None:
        self._offset += 1
        movie_id = item if isinstance(item, str) else movie(item)
        with self._database.transaction() as cursor:
            cursor.execute(
                'INSERT INTO ratings (time, stream, partition, "offset", user_id, movie_id, rating)'
                " VALUES (%s, %s, 0, %s, %s, %s, %s)",
                (at(hours), self._stream, self._offset, str(user_id), movie_id, rating),
            )


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with closing(Database(database_url)) as database:
        yield database


@pytest.fixture
def ratings(database: Database) -> Ratings:
    return Ratings(database)


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "objects")


@pytest.fixture
def live(database: Database, store: FileStore) -> LiveAccuracy:
    return LiveAccuracy(database, store)


def release_at(store: FileStore, hours: float, **shares: str) -> None:
    """A release of arms, each name a version, published at a given hour."""
    arms = tuple(Arm(name, version, 1 / len(shares)) for name, version in shares.items())
    publish(
        store,
        lambda before: msgspec.structs.replace(
            new_release(arms, author="test", reason="", after=before), created=at(hours)
        ),
    )


def test_errors_by_hand(store: FileStore, ratings: Ratings, live: LiveAccuracy) -> None:
    """Users of even ids are predicted 4 for group 0 and 2 for group 1: errors 0, -1 and +1."""
    release_at(store, 0, control=(version := written(store)))
    # Three of them: what one rated before would change what is predicted for him next.
    for user, item, rating in [(1000, 20, 4), (1002, 22, 5), (1004, 21, 1)]:
        ratings.add(1, user, item, rating)
    assert live.update(MUCH_LATER) == 3
    assert live.update(MUCH_LATER) == 0
    assert live.overall is not None
    assert (live.overall.ratings, live.overall.mae.value) == (3, pytest.approx(2 / 3))
    assert live.overall.rmse.value == pytest.approx((2 / 3) ** 0.5)
    assert list(live.by_version) == [version]


def test_each_rating_is_predicted_by_the_version_that_served_then(
    store: FileStore, ratings: Ratings, live: LiveAccuracy
) -> None:
    """The second model says half a point less; a rollback brings the first one back."""
    first = written(store)
    second = written(store, two_tastes(mean=2.5), TRAINED_THROUGH + timedelta(minutes=5))
    release_at(store, 0, control=first)
    release_at(store, 10, control=second)
    release_at(store, 20, control=first)
    for hours, user in [(5, 1000), (15, 1002), (25, 1004)]:
        ratings.add(hours, user, 20, 4)
    live.update(MUCH_LATER)
    assert {v: (a.ratings, a.mae.value) for v, a in live.by_version.items()} == {
        first: (2, pytest.approx(0)),
        second: (1, pytest.approx(0.5)),
    }


def test_each_user_by_his_own_arm(store: FileStore, ratings: Ratings, live: LiveAccuracy) -> None:
    low = written(store, two_tastes(mean=2.5), TRAINED_THROUGH + timedelta(minutes=5))
    release_at(store, 0, control=written(store), canary=low)
    for user in range(40):
        ratings.add(1 + user / 100, user, 20, 3)
    live.update(MUCH_LATER)
    assert sum(a.ratings for a in live.by_version.values()) == 40
    assert {round(a.mae.value, 3) for a in live.by_version.values()} == {0.0, 0.5}


def test_never_by_a_model_that_may_have_learnt_from_it(
    store: FileStore, ratings: Ratings, live: LiveAccuracy
) -> None:
    """A release back-dated before the end of its training: that rating is passed over."""
    release_at(store, 0, control=written(store, through=at(2)))
    for hours, item in ((1, 20), (2, 22), (3, 24)):
        ratings.add(hours, 1000, item, 4)
    live.update(MUCH_LATER)
    assert live.overall is not None
    assert (live.overall.ratings, live.passed_over) == (1, {NO_MODEL: 2})


def test_what_a_user_rated_before_counts_and_what_he_rates_after_does_not(
    store: FileStore, ratings: Ratings, live: LiveAccuracy
) -> None:
    """Somebody new: the first prediction knows nothing, the last one follows four ratings of 5."""
    release_at(store, 0, control=written(store))
    for hours, item in enumerate([20, 22, 24, 26, 28]):
        ratings.add(hours + 1, 77, item, 5)
    errors = []
    for hours in range(1, 6):
        live.update(at(hours + 0.5))
        assert live.overall is not None
        errors.append(live.overall.mae.value * live.overall.ratings - sum(errors))
    assert errors[0] == pytest.approx(2.0)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.2


def test_what_cannot_be_predicted_is_counted_apart(
    store: FileStore, ratings: Ratings, live: LiveAccuracy
) -> None:
    release_at(store, 2, control=written(store))
    ratings.add(1, 1000, 20, 4)
    ratings.add(3, 1000, "unheard+of+2031", 4)
    assert live.update(MUCH_LATER) == 2
    assert live.overall is None
    assert live.passed_over == {NO_RELEASE: 1, UNKNOWN_FILM: 1}


def test_a_film_rated_again_is_no_prediction(store: FileStore, ratings: Ratings, live: LiveAccuracy) -> None:
    """The first rating may have been learnt from, and is in the profile anyway."""
    release_at(store, 0, control=written(store))
    ratings.add(1, 1000, 20, 4)
    ratings.add(2, 1000, 20, 5)
    live.update(MUCH_LATER)
    assert live.overall is not None
    assert (live.overall.ratings, live.passed_over) == (1, {RATED_BEFORE: 1})


def test_a_refused_release_never_served(store: FileStore, ratings: Ratings, live: LiveAccuracy) -> None:
    good = written(store)
    bad = written(store, two_tastes(mean=2.5), TRAINED_THROUGH + timedelta(minutes=5))
    corrupt(store, bad, "item_vectors.npy")
    release_at(store, 0, control=good)
    release_at(store, 1, control=bad)
    ratings.add(2, 1000, 20, 4)
    live.update(MUCH_LATER)
    assert list(live.by_version) == [good]


def test_it_follows_a_page_at_a_time_and_counts_nothing_twice(
    database: Database, store: FileStore, ratings: Ratings
) -> None:
    """Also where many ratings have the same time, and where more come in later."""
    release_at(store, 0, control=written(store))
    live = LiveAccuracy(database, store, page=3)
    for user in range(7):
        ratings.add(1, user, 20, 3)
    assert [live.update(MUCH_LATER) for _ in range(4)] == [3, 3, 1, 0]
    ratings.add(2, 8, 20, 3)
    assert live.update(MUCH_LATER) == 1
    assert live.overall is not None
    assert live.overall.ratings == 8


def test_ratings_settle_before_they_are_taken_up(
    store: FileStore, ratings: Ratings, live: LiveAccuracy
) -> None:
    release_at(store, 0, control=written(store))
    ratings.add(1, 1000, 20, 4)
    assert live.update(at(1) + timedelta(seconds=1)) == 0
    assert live.update(at(1) + timedelta(seconds=3)) == 1


def test_earlier_ratings_may_be_passed_over(database: Database, store: FileStore, ratings: Ratings) -> None:
    release_at(store, 0, control=written(store))
    live = LiveAccuracy(database, store, since=at(2))
    ratings.add(1, 1000, 20, 4)
    ratings.add(2, 1000, 22, 4)
    assert live.update(MUCH_LATER) == 1


def test_a_release_that_comes_later_is_seen(store: FileStore, ratings: Ratings, live: LiveAccuracy) -> None:
    first = written(store)
    release_at(store, 0, control=first)
    ratings.add(1, 1000, 20, 4)
    live.update(at(2))
    second = written(store, two_tastes(mean=2.5), at(2))
    release_at(store, 3, control=second)
    ratings.add(4, 1002, 20, 4)
    live.update(MUCH_LATER)
    assert list(live.by_version) == [first, second]


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """60 experiments of 80 users whose errors hang together; the true RMSE is known."""
    rng = np.random.default_rng(3)
    truth, held = (0.5**2 + 0.5**2) ** 0.5, 0
    for experiment in range(60):
        errors = RunningErrors()
        for user in range(80):
            own = rng.normal(0, 0.5)
            for _ in range(5):
                errors.add(f"{experiment}/{user}", own + rng.normal(0, 0.5))
        accuracy = errors.accuracy()
        assert accuracy is not None
        assert accuracy.rmse.low is not None
        assert accuracy.rmse.high is not None
        assert accuracy.rmse.low < accuracy.rmse.value < accuracy.rmse.high
        held += accuracy.rmse.low <= truth <= accuracy.rmse.high
    assert held >= 50


def test_nothing_yet_is_none() -> None:
    assert RunningErrors().accuracy() is None
