"""Prequential predictions: made as of the time before each rating, without later information."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from tests.monitoring.live_stream import LiveStream, at, follow, read_errors, read_predictions, release_at
from tests.serving.models import TRAINED_THROUGH, flip_last_bit, store_model, two_group_model
from tests.support.records import rows

from marquee.db.pool import Database
from marquee.evaluation.bootstrap import RESAMPLES, ErrorSums, draw_poisson_weights
from marquee.monitoring import live_accuracy
from marquee.monitoring.served_prediction import NO_MODEL, RATED_BEFORE, UNKNOWN_MOVIE
from marquee.registry.artifact import write_artifact
from marquee.registry.manifest import ResidualInterval
from marquee.registry.object_store.file_store import FileStore

pytestmark = pytest.mark.servers


def test_follow_predictions_match_hand_calculation(each_database: Database, store: FileStore) -> None:
    """Users of even ids are predicted 4 for group 0 and 2 for group 1: errors 0, -1 and +1."""
    stream = LiveStream(each_database)
    release_at(store, 0, control=(version := store_model(store)))
    # Three users, because earlier ratings of a user change the next prediction.
    for user, item, rating in [(1000, 20, 4), (1002, 22, 5), (1004, 21, 1)]:
        stream.rate(1, user, item, rating)
    assert follow(each_database, store) == 3
    assert read_errors(each_database) == pytest.approx([0, -1, 1])
    assert {row[2:] for row in read_predictions(each_database)} == {(version, "control", "computed", "")}
    accuracy = live_accuracy.accuracy_since(each_database, at(0))
    assert accuracy is not None
    assert accuracy.ratings == 3
    assert accuracy.mae.value == pytest.approx(2 / 3)
    assert accuracy.rmse.value == pytest.approx((2 / 3) ** 0.5)


def test_follow_uses_version_that_served_at_the_time(database: Database, store: FileStore, stream: LiveStream) -> None:
    """The second model predicts half a point less, and a rollback brings the first one back."""
    first = store_model(store)
    second = store_model(store, two_group_model(mean=2.5), TRAINED_THROUGH + timedelta(minutes=5))
    release_at(store, 0, control=first)
    release_at(store, 10, control=second)
    release_at(store, 20, control=first)
    for hours, user in [(5, 1000), (15, 1002), (25, 1004)]:
        stream.rate(hours, user, 20, 4)
    follow(database, store)
    assert [row[2] for row in read_predictions(database)] == [first, second, first]
    assert read_errors(database) == pytest.approx([0, -0.5, 0])


def test_follow_uses_arm_of_each_user(database: Database, store: FileStore, stream: LiveStream) -> None:
    """Each user is predicted by the version of their arm."""
    low = store_model(store, two_group_model(mean=2.5), TRAINED_THROUGH + timedelta(minutes=5))
    release_at(store, 0, control=(high := store_model(store)), canary=low)
    for user in range(40):
        stream.rate(1 + user / 100, user, 20, 3)
    follow(database, store)
    assert {(row[2], row[3]) for row in read_predictions(database)} == {(high, "control"), (low, "canary")}
    assert {round(error, 3) for error in read_errors(database)} == {0.0, -0.5}


def test_follow_model_trained_on_rating_predicts_nothing(
    database: Database, store: FileStore, stream: LiveStream
) -> None:
    """If a release is dated before the end of its training, neither the model nor its impression counts."""
    release_at(store, 0, control=(version := store_model(store, through=at(2))))
    stream.show(0.5, 1000, version, {20: 4.5})
    for hours, item in ((1, 20), (2, 22), (3, 24)):
        stream.rate(hours, 1000, item, 4)
    follow(database, store)
    assert [row[5] for row in read_predictions(database)] == [NO_MODEL, NO_MODEL, ""]


def test_follow_only_earlier_ratings_of_the_user_count(
    database: Database, store: FileStore, stream: LiveStream
) -> None:
    """A new user has no history at the first of five ratings and four ratings of 5 at the last one.

    All five are evaluated in one run.
    """
    release_at(store, 0, control=store_model(store))
    for hours, item in enumerate([20, 22, 24, 26, 28]):
        stream.rate(hours + 1, 77, item, 5)
    follow(database, store)
    sizes = [abs(error) for error in read_errors(database)]
    assert sizes[0] == pytest.approx(2.0)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 0.2


def test_follow_without_prediction_has_reason(database: Database, store: FileStore, stream: LiveStream) -> None:
    """Unknown movies and movies rated before have no prediction."""
    release_at(store, 2, control=store_model(store))
    release_at(
        store,
        3,
        control=store_model(store, two_group_model(mean=2.5), TRAINED_THROUGH + timedelta(minutes=5)),
    )
    stream.rate(3, 1000, "unheard+of+2031", 4)
    stream.rate(4, 1000, 20, 4)
    stream.rate(5, 1000, 20, 5)  # The first rating is in the user state.
    stream.rate(6, 1002, 0, 5)  # The artifact has a rating of this user and movie.
    follow(database, store)
    assert [row[5] for row in read_predictions(database)] == [UNKNOWN_MOVIE, "", RATED_BEFORE, RATED_BEFORE]


def test_follow_before_first_release_does_nothing(database: Database, store: FileStore, stream: LiveStream) -> None:
    """Ratings before the first release are not evaluated, then or later."""
    stream.rate(1, 1000, 20, 4)
    assert follow(database, store) == 0
    release_at(store, 2, control=store_model(store))
    stream.rate(3, 1000, 22, 4)
    assert follow(database, store) == 1


def test_follow_refused_release_did_not_serve(database: Database, store: FileStore, stream: LiveStream) -> None:
    """If an artifact is damaged, the release before it served."""
    good = store_model(store)
    bad = store_model(store, two_group_model(mean=2.5), TRAINED_THROUGH + timedelta(minutes=5))
    flip_last_bit(store, bad, "item_vectors.npy")
    release_at(store, 0, control=good)
    release_at(store, 1, control=bad)
    stream.rate(2, 1000, 20, 4)
    follow(database, store)
    assert [row[2] for row in read_predictions(database)] == [good]


def test_follow_newest_earlier_impression_counts(each_database: Database, store: FileStore) -> None:
    """Later impressions, those of other users and movies, and those without a prediction do not count."""
    stream = LiveStream(each_database)
    release_at(store, 0, control=(version := store_model(store)))
    stream.show(1, 1000, version, {20: 4.9, 22: 4.8})
    stream.show(2, 1000, version, {20: 4.1})
    stream.show(3, 1000, version, {20: 1.0})  # At the same time as the rating.
    stream.show(4, 1000, version, {20: 1.5})
    stream.show(2.5, 1002, version, {20: 2.0})
    stream.show(2.5, 1004, version, {24: None})
    stream.rate(3, 1000, 20, 4)
    stream.rate(3.5, 1004, 24, 4)
    follow(each_database, store)
    assert [(row[1], row[4]) for row in read_predictions(each_database)] == [
        (4.1, "impression"),
        (4.0, "computed"),
    ]
    assert rows(each_database, "SELECT impression, tier FROM predictions WHERE source = 'impression'") == [
        ("1000-2", "personalised")
    ]


def test_follow_interval_is_that_of_the_prediction_time(
    database: Database, store: FileStore, stream: LiveStream
) -> None:
    """Intervals are wider without history and clipped to the scale. An impression has the one of its own time."""
    prediction_intervals = (ResidualInterval(0, -1.5, 1.5), ResidualInterval(1, -0.5, 0.25))
    version = write_artifact(
        store, two_group_model(), trained_through=TRAINED_THROUGH, prediction_intervals=prediction_intervals
    )
    release_at(store, 0, control=version)
    stream.show(0.5, 77, version, {24: 4.0})
    stream.rate(1, 1000, 20, 4)  # The artifact has two ratings of this user.
    stream.rate(2, 77, 20, 3)
    stream.rate(3, 77, 24, 3)
    follow(database, store)
    intervals = rows(database, "SELECT source, low, high, coverage FROM predictions ORDER BY time")
    assert intervals == [
        ("computed", pytest.approx(3.5), pytest.approx(4.25), 0.8),
        ("computed", pytest.approx(1.5), pytest.approx(4.5), 0.8),
        ("impression", 2.5, 5.0, 0.8),
    ]


def test_error_sums_interval_has_nominal_coverage() -> None:
    """In 60 experiments of 80 users with correlated errors the interval holds the true RMSE often enough."""
    rng = np.random.default_rng(3)
    true_rmse, covered = (0.5**2 + 0.5**2) ** 0.5, 0
    for experiment in range(60):
        errors = rng.normal(0, 0.5, (80, 1)) + rng.normal(0, 0.5, (80, 5))
        sums = np.column_stack([np.full(80, 5), (errors**2).sum(1), np.abs(errors).sum(1)])
        weights = draw_poisson_weights([f"{experiment}/{user}" for user in range(80)], RESAMPLES)
        total, half = ErrorSums(), ErrorSums()
        total.add(sums[:30], weights[:30])
        half.add(sums[30:], weights[30:])
        total += half
        accuracy = total.accuracy()
        assert accuracy is not None
        assert accuracy.ratings == 400
        rmse = accuracy.rmse
        assert rmse.low is not None
        assert rmse.high is not None
        assert rmse.low < rmse.value < rmse.high
        covered += rmse.low <= true_rmse <= rmse.high
    assert covered >= 50


def test_error_sums_empty_has_no_accuracy() -> None:
    """Without errors there is no accuracy."""
    assert ErrorSums().accuracy() is None


def test_draw_poisson_weights_are_poisson_and_belong_to_the_user() -> None:
    """Mean and variance are 1, resamples are uncorrelated, and a user's weights depend on the id alone."""
    users = [f"user-{number}" for number in range(2_000)]
    weights = draw_poisson_weights(users, 203)
    assert weights.shape == (2_000, 203)
    assert np.array_equal(draw_poisson_weights(users[7:9], 203), weights[7:9])
    assert np.array_equal(draw_poisson_weights(users[:3], 50), weights[:3, :50])
    for number, probability in enumerate((0.367879, 0.367879, 0.183940, 0.061313, 0.015328)):
        assert (weights == number).mean() == pytest.approx(probability, abs=0.003)
    assert weights.mean() == pytest.approx(1, abs=0.006)
    assert weights.var() == pytest.approx(1, abs=0.01)
    for axis in (weights, weights.T):
        correlations = np.abs(np.array(np.corrcoef(axis[:200].astype(np.float64))))
        assert correlations[np.triu_indices(200, 1)].mean() < 1.2 * 0.8 / axis.shape[1] ** 0.5
