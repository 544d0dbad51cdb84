"""Live accuracy and availability: hand calculations, and runs that are repeated."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.monitoring.row_inserts import NOON, as_time, insert
from tests.support.records import rows

from marquee.db.pool import Database
from marquee.monitoring import availability, live_accuracy

pytestmark = pytest.mark.servers


@pytest.fixture
def database(each_database: Database) -> Database:
    return each_database


class PredictionWriter:
    """Writer of predictions, each for a rating of its own."""

    def __init__(self, database: Database) -> None:
        self._database, self._offset = database, 0

    def add(self, ago_s: float, user: str, rating: int, predicted: float | None, **columns: Any) -> None:
        """Write a prediction for a rating ``ago_s`` seconds before noon."""
        self._offset += 1
        insert(
            self._database,
            "predictions",
            **{
                "time": NOON - timedelta(seconds=ago_s),
                "topic_key": 1,
                "partition": 0,
                "offset": self._offset,
                "user_id": user,
                "movie_id": "a+1",
                "rating": rating,
                "predicted": predicted,
                "source": "computed",
                "arm": "control",
                "model_version": "v1",
                **columns,
            },
        )


ACCURACY = """
SELECT arm, model_version, ratings, users, rmse, mae FROM live_accuracy WHERE window_s = %s AND time = %s
ORDER BY arm, model_version"""


def test_update_accuracy_matches_hand_calculation(database: Database) -> None:
    """Errors of 1, -1 and 2 in the last five minutes; an older rating is only in the hour."""
    predictions = PredictionWriter(database)
    predictions.add(10, "a", 4, 5.0)
    predictions.add(20, "a", 4, 3.0)
    predictions.add(30, "b", 1, 3.0, arm="canary", model_version="v2")
    predictions.add(2_000, "b", 2, 2.0)
    live_accuracy.update_accuracy(database, NOON)
    groups = {row[:2]: row[2:] for row in rows(database, ACCURACY, 300, NOON)}
    assert groups["", ""] == (3, 2, pytest.approx(2**0.5), pytest.approx(4 / 3))
    assert groups["control", "v1"] == groups["control", ""] == groups["", "v1"] == (2, 1, 1.0, 1.0)
    assert groups["canary", "v2"] == (1, 1, 2.0, 2.0)
    ((_, _, ratings, users, _, mae), *_) = rows(database, ACCURACY, 3_600, NOON)
    assert (ratings, users, mae) == (4, 2, 1.0)


def test_update_accuracy_coverage_matches_hand_calculation(database: Database) -> None:
    """Three of five ratings are in their interval, its ends included. One without interval is not counted."""
    predictions = PredictionWriter(database)
    for n, rating in enumerate([1, 2, 3, 4, 5]):
        predictions.add(n + 1, f"u{n}", rating, 3.0, low=2.0, high=4.0, coverage=0.8)
    predictions.add(9, "u9", 5, 3.0)
    live_accuracy.update_accuracy(database, NOON)
    query = """SELECT nominal_coverage, observed_coverage, ratings FROM live_accuracy
               WHERE window_s = 300 AND arm = '' AND model_version = '' AND time = %s"""
    ((nominal, observed, ratings),) = rows(database, query, NOON)
    assert (nominal, observed, ratings) == (pytest.approx(0.8), pytest.approx(0.6), 6)


def test_update_accuracy_ignores_ratings_without_prediction(database: Database) -> None:
    """A window without predictions has no row."""
    PredictionWriter(database).add(10, "a", 4, None, source="", reason="unknown movie")
    assert live_accuracy.update_accuracy(database, NOON) == 0


def test_update_accuracy_recomputes_only_changed_windows(database: Database) -> None:
    """A second run writes nothing, and a late rating changes only the windows that contain it."""
    predictions = PredictionWriter(database)
    for n in range(20):
        predictions.add(60 * n + 1, f"u{n}", 3, 3.5)
    assert live_accuracy.update_accuracy(database, NOON) > 0
    before = rows(database, "SELECT * FROM live_accuracy ORDER BY time, window_s, arm, model_version")
    assert live_accuracy.update_accuracy(database, NOON) == 0
    predictions.add(7_200 + 1, "late", 3, 5.0)
    assert live_accuracy.update_accuracy(database, NOON) > 0
    since = NOON - timedelta(seconds=1_200)
    unchanged = [row for row in before if as_time(row[0]) >= since and row[1] == 300]
    after = rows(database, "SELECT * FROM live_accuracy ORDER BY time, window_s, arm, model_version")
    assert [row for row in after if as_time(row[0]) >= since and row[1] == 300] == unchanged
    assert len(after) > len(before)


def test_update_accuracy_without_time_continues_next_run(database: Database) -> None:
    """Each run computes the oldest window left. In the end all rows are there."""
    predictions = PredictionWriter(database)
    for n in range(5):
        predictions.add(60 * n + 1, "u", 3, 3.5)
    runs = 0
    while live_accuracy.update_accuracy(database, NOON, budget_s=0):
        runs += 1
    assert runs > 5
    ((windows,),) = rows(
        database,
        "SELECT count(*) FROM live_accuracy WHERE window_s = 300 AND arm = '' AND model_version = ''",
    )
    assert windows == 5


class RequestWriter:
    """Writer of requests as the streaming service logs them."""

    def __init__(self, database: Database) -> None:
        self._database, self._offset = database, 0

    def add(self, ago_s: float, status: int, response_ms: int, server: str = "a:1") -> None:
        """Write a request ``ago_s`` seconds before noon."""
        self._offset += 1
        insert(
            self._database,
            "recommendation_requests",
            time=NOON - timedelta(seconds=ago_s),
            topic_key=1,
            partition=0,
            offset=self._offset,
            user_id="1",
            server=server,
            status=status,
            movie_ids=[],
            result="",
            response_ms=response_ms,
        )


AVAILABILITY = "SELECT server, requests, answered, late, failed, p50_ms, p99_ms FROM availability ORDER BY time, server"


def test_update_availability_counts_outcomes_by_server(database: Database) -> None:
    """Requests are answered in time, late with status 200 or a time-out, or failed at once."""
    requests = RequestWriter(database)
    for status, ms in [(200, 20), (200, 600), (200, 601), (0, 600), (0, 632), (503, 12), (0, 3)]:
        requests.add(30, status, ms)
    requests.add(30, 200, 40, server="b:1")
    requests.add(90, 200, 50)
    assert availability.update_availability(database, NOON, 600) == 3
    assert rows(database, AVAILABILITY) == [
        ("a:1", 1, 1, 0, 0, 50.0, 50.0),
        ("a:1", 7, 2, 3, 2, 600.0, pytest.approx(632 - 0.06 * 31)),
        ("b:1", 1, 1, 0, 0, 40.0, 40.0),
    ]
    assert availability.update_availability(database, NOON, 600) == 0


def test_update_availability_late_record_changes_its_minute(database: Database) -> None:
    """Only the minute with the late record is written again."""
    requests = RequestWriter(database)
    requests.add(30, 200, 20)
    requests.add(3_600, 200, 20)
    availability.update_availability(database, NOON, 600)
    requests.add(3_600, 500, 20)
    assert availability.update_availability(database, NOON, 600) == 1
    assert [row[1:5] for row in rows(database, AVAILABILITY)] == [(2, 1, 0, 1), (1, 1, 0, 0)]


def test_update_availability_unchanged_minutes_are_not_read(database: Database) -> None:
    """A run reads the requests of changed minutes only: what was deleted elsewhere stays counted."""
    requests = RequestWriter(database)
    requests.add(3_600, 200, 20)
    availability.update_availability(database, NOON, 600)
    with database.transaction() as cursor:
        cursor.execute("DELETE FROM recommendation_requests")
    requests.add(30, 200, 20)
    assert availability.update_availability(database, NOON, 600) == 1
    assert [row[1] for row in rows(database, AVAILABILITY)] == [1, 1]


def test_update_availability_six_days_late_record_is_counted(database: Database) -> None:
    """A late record within a week changes its minute, whatever was computed since."""
    requests = RequestWriter(database)
    requests.add(30, 200, 20)
    availability.update_availability(database, NOON, 600)
    requests.add(6 * 86_400, 200, 20)
    assert availability.update_availability(database, NOON, 600) == 1
