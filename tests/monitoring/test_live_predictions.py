"""Online predictions: what was predicted then, and nothing that was learnt later."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from tests.monitoring.live_stream import Stream, at, errors, follow, predictions, release_at
from tests.serving.models import TRAINED_THROUGH, corrupt, two_tastes, written
from tests.support.records import rows

from marquee.db.pool import Database
from marquee.evaluation.streaming_bootstrap import StreamingErrors
from marquee.monitoring import live_accuracy
from marquee.monitoring.served_prediction import NO_MODEL, RATED_BEFORE, UNKNOWN_MOVIE
from marquee.registry.artifact import write_artifact
from marquee.registry.manifest import ResidualInterval
from marquee.registry.object_store.file_store import FileStore

pytestmark = pytest.mark.servers


def test_what_is_predicted_by_hand(both: Database, store: FileStore) -> None:
    """Users of even ids are predicted 4 for group 0 and 2 for group 1: errors 0, -1 and +1."""
    topic_key = Stream(both)
    release_at(store, 0, control=(version := written(store)))
    # Three of them: what one rated before would change what is predicted for him next.
    for user, item, rating in [(1000, 20, 4), (1002, 22, 5), (1004, 21, 1)]:
        topic_key.rate(1, user, item, rating)
    assert follow(both, store) == 3
    assert errors(both) == pytest.approx([0, -1, 1])
    assert {row[2:] for row in predictions(both)} == {(version, "control", "computed", "")}
    found = live_accuracy.accuracy_since(both, at(0))
    assert found is not None
    assert (found.ratings, found.mae.value) == (3, pytest.approx(2 / 3))
    assert found.rmse.value == pytest.approx((2 / 3) ** 0.5)


def test_each_rating_by_the_version_that_served_then(
    database: Database, store: FileStore, topic_key: Stream
) -> None:
    """The second model says half a point less; a rollback brings the first one back."""
    first = written(store)
    second = written(store, two_tastes(mean=2.5), TRAINED_THROUGH + timedelta(minutes=5))
    release_at(store, 0, control=first)
    release_at(store, 10, control=second)
    release_at(store, 20, control=first)
    for hours, user in [(5, 1000), (15, 1002), (25, 1004)]:
        topic_key.rate(hours, user, 20, 4)
    follow(database, store)
    assert [row[2] for row in predictions(database)] == [first, second, first]
    assert errors(database) == pytest.approx([0, -0.5, 0])


def test_each_user_by_his_own_arm(database: Database, store: FileStore, topic_key: Stream) -> None:
    low = written(store, two_tastes(mean=2.5), TRAINED_THROUGH + timedelta(minutes=5))
    release_at(store, 0, control=(high := written(store)), canary=low)
    for user in range(40):
        topic_key.rate(1 + user / 100, user, 20, 3)
    follow(database, store)
    assert {(row[2], row[3]) for row in predictions(database)} == {(high, "control"), (low, "canary")}
    assert {round(e, 3) for e in errors(database)} == {0.0, -0.5}


def test_never_by_a_model_that_may_have_learnt_from_it(
    database: Database, store: FileStore, topic_key: Stream
) -> None:
    """A release back-dated before the end of its training: neither its answer nor its list predicts anything."""
    release_at(store, 0, control=(version := written(store, through=at(2))))
    topic_key.show(0.5, 1000, version, {20: 4.5})
    for hours, item in ((1, 20), (2, 22), (3, 24)):
        topic_key.rate(hours, 1000, item, 4)
    follow(database, store)
    assert [row[5] for row in predictions(database)] == [NO_MODEL, NO_MODEL, ""]


def test_what_a_user_rated_before_counts_and_what_he_rates_after_does_not(
    database: Database, store: FileStore, topic_key: Stream
) -> None:
    """Somebody new: the first prediction knows nothing, the last one follows four ratings of 5. And that though
    all five are taken up at once."""
    release_at(store, 0, control=written(store))
    for hours, item in enumerate([20, 22, 24, 26, 28]):
        topic_key.rate(hours + 1, 77, item, 5)
    follow(database, store)
    off = [abs(e) for e in errors(database)]
    assert off[0] == pytest.approx(2.0)
    assert off == sorted(off, reverse=True)
    assert off[-1] < 0.2


def test_what_cannot_be_predicted_says_why(database: Database, store: FileStore, topic_key: Stream) -> None:
    release_at(store, 2, control=written(store))
    release_at(store, 3, control=written(store, two_tastes(mean=2.5), TRAINED_THROUGH + timedelta(minutes=5)))
    topic_key.rate(3, 1000, "unheard+of+2031", 4)
    topic_key.rate(4, 1000, 20, 4)
    topic_key.rate(5, 1000, 20, 5)  # The first may have been learnt from, and is in the profile anyway.
    topic_key.rate(6, 1002, 0, 5)  # The artifact knows that he has rated it.
    follow(database, store)
    assert [row[5] for row in predictions(database)] == [UNKNOWN_MOVIE, "", RATED_BEFORE, RATED_BEFORE]


def test_before_the_first_release_nothing_is_followed(
    database: Database, store: FileStore, topic_key: Stream
) -> None:
    topic_key.rate(1, 1000, 20, 4)
    assert follow(database, store) == 0
    release_at(store, 2, control=written(store))
    topic_key.rate(3, 1000, 22, 4)
    assert follow(database, store) == 1


def test_a_refused_release_never_served(database: Database, store: FileStore, topic_key: Stream) -> None:
    good = written(store)
    bad = written(store, two_tastes(mean=2.5), TRAINED_THROUGH + timedelta(minutes=5))
    corrupt(store, bad, "item_vectors.npy")
    release_at(store, 0, control=good)
    release_at(store, 1, control=bad)
    topic_key.rate(2, 1000, 20, 4)
    follow(database, store)
    assert [row[2] for row in predictions(database)] == [good]


def test_the_newest_list_before_the_rating_speaks(both: Database, store: FileStore) -> None:
    """Not a later one, not one of another user or movie, and not one that rated nothing."""
    topic_key = Stream(both)
    release_at(store, 0, control=(version := written(store)))
    topic_key.show(1, 1000, version, {20: 4.9, 22: 4.8})
    topic_key.show(2, 1000, version, {20: 4.1})
    topic_key.show(3, 1000, version, {20: 1.0})  # As late as the rating.
    topic_key.show(4, 1000, version, {20: 1.5})
    topic_key.show(2.5, 1002, version, {20: 2.0})
    topic_key.show(2.5, 1004, version, {24: None})
    topic_key.rate(3, 1000, 20, 4)
    topic_key.rate(3.5, 1004, 24, 4)
    follow(both, store)
    assert [(row[1], row[4]) for row in predictions(both)] == [(4.1, "impression"), (4.0, "computed")]
    assert rows(both, "SELECT impression, tier FROM predictions WHERE source = 'impression'") == [
        ("1000-2", "personalised")
    ]


def test_each_prediction_has_the_interval_that_it_had_then(
    database: Database, store: FileStore, topic_key: Stream
) -> None:
    """Wider for whom nothing is known of, clipped to the scale; a list's as of the list, not of the rating."""
    prediction_intervals = (ResidualInterval(0, -1.5, 1.5), ResidualInterval(1, -0.5, 0.25))
    version = write_artifact(
        store, two_tastes(), trained_through=TRAINED_THROUGH, prediction_intervals=prediction_intervals
    )
    release_at(store, 0, control=version)
    topic_key.show(0.5, 77, version, {24: 4.0})
    topic_key.rate(1, 1000, 20, 4)  # The artifact knows two ratings of his.
    topic_key.rate(2, 77, 20, 3)
    topic_key.rate(3, 77, 24, 3)
    follow(database, store)
    found = rows(database, "SELECT source, low, high, coverage FROM predictions ORDER BY time")
    assert found == [
        ("computed", pytest.approx(3.5), pytest.approx(4.25), 0.8),
        ("computed", pytest.approx(1.5), pytest.approx(4.5), 0.8),
        ("impression", 2.5, 5.0, 0.8),
    ]


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """60 experiments of 80 users whose errors hang together; the true RMSE is known."""
    rng = np.random.default_rng(3)
    truth, held = (0.5**2 + 0.5**2) ** 0.5, 0
    for experiment in range(60):
        errors_ = StreamingErrors()
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
    assert StreamingErrors().accuracy() is None
