"""Windows of live accuracy, outcomes of lists and availability: figures known by hand, the same when run again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from tests.support.records import rows

from marquee.db.pool import Database
from marquee.monitoring import attribution, availability, live_accuracy

pytestmark = pytest.mark.servers

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def database(both: Database) -> Database:
    return both


def insert(database: Database, table: str, **values: Any) -> None:
    names = ", ".join(f'"{name}"' for name in values)
    with database.transaction() as cursor:
        cursor.execute(f"INSERT INTO {table} ({names}) VALUES %s", (tuple(values.values()),))


class Predicted:
    """Writes predictions; each is a rating of its own."""

    def __init__(self, database: Database) -> None:
        self._database, self._offset = database, 0

    def add(self, ago_s: float, user: str, rating: int, predicted: float, **more: Any) -> None:
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
                **more,
            },
        )


ROWS = """
SELECT arm, model_version, ratings, users, rmse, mae FROM live_accuracy WHERE window_s = %s AND time = %s
ORDER BY arm, model_version"""


def test_a_window_by_hand(database: Database) -> None:
    """Errors 1, -1, 2 in the last five minutes; an older one is in the hour alone."""
    predicted = Predicted(database)
    predicted.add(10, "a", 4, 5.0)
    predicted.add(20, "a", 4, 3.0)
    predicted.add(30, "b", 1, 3.0, arm="canary", model_version="v2")
    predicted.add(2_000, "b", 2, 2.0)
    live_accuracy.update(database, NOON)
    found = {row[:2]: row[2:] for row in rows(database, ROWS, 300, NOON)}
    assert found["", ""] == (3, 2, pytest.approx(2**0.5), pytest.approx(4 / 3))
    assert found["control", "v1"] == found["control", ""] == found["", "v1"] == (2, 1, 1.0, 1.0)
    assert found["canary", "v2"] == (1, 1, 2.0, 2.0)
    ((_, _, ratings, users, _, mae), *_) = rows(database, ROWS, 3_600, NOON)
    assert (ratings, users, mae) == (4, 2, 1.0)


def test_coverage_is_exact(database: Database) -> None:
    """Of five ratings with an interval three fall within it, its ends included; one without is not counted."""
    predicted = Predicted(database)
    for n, rating in enumerate([1, 2, 3, 4, 5]):
        predicted.add(n + 1, f"u{n}", rating, 3.0, low=2.0, high=4.0, coverage=0.8)
    predicted.add(9, "u9", 5, 3.0)
    live_accuracy.update(database, NOON)
    query = """SELECT nominal_coverage, observed_coverage, ratings FROM live_accuracy
               WHERE window_s = 300 AND arm = '' AND model_version = '' AND time = %s"""
    ((coverage, covered, ratings),) = rows(database, query, NOON)
    assert (coverage, covered, ratings) == (pytest.approx(0.8), pytest.approx(0.6), 6)


def test_what_was_not_predicted_is_in_no_window(database: Database) -> None:
    Predicted(database).add(10, "a", 4, None, source="", reason="unknown movie")  # type: ignore[arg-type]
    assert live_accuracy.update(database, NOON) == 0


def test_run_twice_it_writes_nothing_and_a_late_line_only_its_windows(database: Database) -> None:
    predicted = Predicted(database)
    for n in range(20):
        predicted.add(60 * n + 1, f"u{n}", 3, 3.5)
    assert live_accuracy.update(database, NOON) > 0
    before = rows(database, "SELECT * FROM live_accuracy ORDER BY time, window_s, arm, model_version")
    assert live_accuracy.update(database, NOON) == 0
    predicted.add(7_200 + 1, "late", 3, 5.0)
    assert live_accuracy.update(database, NOON) > 0
    since = NOON - timedelta(seconds=1_200)
    kept = [row for row in before if row[0] >= since and row[1] == 300]
    after = rows(database, "SELECT * FROM live_accuracy ORDER BY time, window_s, arm, model_version")
    assert [row for row in after if row[0] >= since and row[1] == 300] == kept
    assert len(after) > len(before)


def test_a_run_out_of_time_is_gone_on_with(database: Database) -> None:
    """The oldest windows first; in the end the same rows as in one go."""
    predicted = Predicted(database)
    for n in range(5):
        predicted.add(60 * n + 1, "u", 3, 3.5)
    runs = 0
    while live_accuracy.update(database, NOON, budget_s=0):
        runs += 1
    assert runs > 5
    ((windows,),) = rows(
        database,
        "SELECT count(*) FROM live_accuracy WHERE window_s = 300 AND arm = '' AND model_version = ''",
    )
    assert windows == 5


class Requests:
    """Writes lines of requests as the service logged them."""

    def __init__(self, database: Database) -> None:
        self._database, self._offset = database, 0

    def add(self, ago_s: float, status: int, response_ms: int, server: str = "a:1") -> None:
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


SEEN = (
    "SELECT server, requests, answered, late, failed, p50_ms, p99_ms FROM availability ORDER BY time, server"
)


def test_availability_as_the_service_saw_it(database: Database) -> None:
    """Answered in time; late with 200 and with a time-out; failed at once. By minute and server."""
    requests = Requests(database)
    for status, ms in [(200, 20), (200, 600), (200, 601), (0, 600), (0, 632), (503, 12), (0, 3)]:
        requests.add(30, status, ms)
    requests.add(30, 200, 40, server="b:1")
    requests.add(90, 200, 50)
    assert availability.update_availability(database, NOON, 600) == 3
    assert rows(database, SEEN) == [
        ("a:1", 1, 1, 0, 0, 50.0, 50.0),
        ("a:1", 7, 2, 3, 2, 600.0, pytest.approx(632 - 0.06 * 31)),
        ("b:1", 1, 1, 0, 0, 40.0, 40.0),
    ]
    assert availability.update_availability(database, NOON, 600) == 0


def test_a_late_line_changes_its_minute_alone(database: Database) -> None:
    requests = Requests(database)
    requests.add(30, 200, 20)
    requests.add(3_600, 200, 20)
    availability.update_availability(database, NOON, 600)
    requests.add(3_600, 500, 20)
    assert availability.update_availability(database, NOON, 600) == 1
    assert [row[1:5] for row in rows(database, SEEN)] == [(2, 1, 0, 1), (1, 1, 0, 0)]


def show(
    database: Database, hours_ago: float, user: str, movies: list[str], tier: str = "personalised"
) -> None:
    made = [{"movie_id": movie, "score": 1.0, "rating": 3.0, "propensity": 1.0} for movie in movies]
    insert(
        database,
        "impressions",
        time=NOON - timedelta(hours=hours_ago),
        id=f"{user}-{hours_ago}",
        user_id=user,
        arm="control",
        model_version="v1",
        release=1,
        tier=tier,
        movies=msgspec.json.encode(made).decode(),
    )


def begin(database: Database, hours_ago: float, user: str, movie: str, minutes: int) -> None:
    started = NOON - timedelta(hours=hours_ago)
    insert(
        database,
        "watch_sessions",
        user_id=user,
        movie_id=movie,
        started=started,
        ended=started + timedelta(minutes=minutes),
        first_minute=0,
        last_minute=minutes - 1,
    )


OUTCOMES = """
SELECT time, position, shown, watched, minutes, rated, rating_sum FROM impression_outcomes
ORDER BY time, tier, position"""


def test_outcomes_by_hand(database: Database) -> None:
    """The last list before counts, and only within its window; what was begun before it does not."""
    hour = timedelta(hours=1)
    show(database, 30, "u", ["a+1", "b+2"])
    show(database, 5, "u", ["b+2", "a+1"])
    show(database, 5, "w", ["b+2"])
    begin(database, 4, "u", "a+1", 90)
    begin(database, 5.5, "u", "b+2", 10)  # After the first list's window, before the second list.
    begin(database, 4, "w", "c+3", 50)  # Nobody recommended it.
    insert(
        database,
        "ratings",
        time=NOON - 2 * hour,
        topic_key=1,
        partition=0,
        offset=1,
        user_id="u",
        movie_id="a+1",
        rating=4,
    )
    attribution.update_attribution(database, NOON)
    assert rows(database, OUTCOMES) == [
        (NOON - 30 * hour, 1, 1, 0, 0, 0, 0),
        (NOON - 30 * hour, 2, 1, 0, 0, 0, 0),
        (NOON - 5 * hour, 1, 2, 0, 0, 0, 0),
        (NOON - 5 * hour, 2, 1, 1, 90, 1, 4),
    ]


def test_an_hour_is_computed_again_until_its_window_is_over(database: Database) -> None:
    """Then it stays as it is, whatever comes."""
    show(database, 0, "u", ["a+1"])
    hours = [0.5, 1, 10, 10.5, 11.5, 26, 27.5, 29, 40]
    written = [attribution.update_attribution(database, NOON + timedelta(hours=hour)) for hour in hours]
    # Young: each time; then not twice in an hour; at 27.5 hours for the last time.
    assert written == [1, 1, 1, 0, 1, 1, 1, 0, 0]


def test_computed_again_the_figures_are_the_same(database: Database) -> None:
    show(database, 2, "u", ["a+1", "b+2"])
    begin(database, 1, "u", "b+2", 30)
    attribution.update_attribution(database, NOON)
    before = rows(database, OUTCOMES)
    assert attribution.update_attribution(database, NOON + timedelta(minutes=5)) == 2
    assert rows(database, OUTCOMES) == before
    begin(database, 0.5, "u", "a+1", 60)
    attribution.update_attribution(database, NOON + timedelta(minutes=10))
    assert [row[1:5] for row in rows(database, OUTCOMES)] == [(1, 1, 1, 60), (2, 1, 1, 30)]
