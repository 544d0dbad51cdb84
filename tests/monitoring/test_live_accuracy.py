"""Live accuracy, attribution and availability: hand calculations, and runs that are repeated."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import psycopg2
import pytest
from tests.support.records import rows
from tests.support.waiting import wait_until

from marquee.db.pool import Database
from marquee.monitoring import attribution, availability, live_accuracy

pytestmark = pytest.mark.servers

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def database(each_database: Database) -> Database:
    return each_database


def insert(database: Database, table: str, **values: Any) -> None:
    """Insert one row; keywords are columns."""
    names = ", ".join(f'"{name}"' for name in values)
    with database.transaction() as cursor:
        cursor.execute(f"INSERT INTO {table} ({names}) VALUES %s", (tuple(values.values()),))


def as_time(value: object) -> datetime:
    """Return a value that the database gave as a time."""
    assert isinstance(value, datetime)
    return value


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


def insert_impression(
    database: Database, hours_ago: float, user: str, movies: list[str], tier: str = "personalised"
) -> None:
    """Insert an impression with the movies in order."""
    recommended = [{"movie_id": movie, "score": 1.0, "rating": 3.0, "propensity": 1.0} for movie in movies]
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
        movies=msgspec.json.encode(recommended).decode(),
    )


def insert_watch_session(database: Database, hours_ago: float, user: str, movie: str, minutes: int) -> None:
    """Insert a watch session."""
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


def test_update_attribution_newest_impression_within_window_counts(database: Database) -> None:
    """An impression counts within its window only, and not for what was begun before it."""
    hour = timedelta(hours=1)
    insert_impression(database, 30, "u", ["a+1", "b+2"])
    insert_impression(database, 5, "u", ["b+2", "a+1"])
    insert_impression(database, 5, "w", ["b+2"])
    insert_watch_session(database, 4, "u", "a+1", 90)
    insert_watch_session(
        database, 5.5, "u", "b+2", 10
    )  # After the window of the first impression and before the second.
    insert_watch_session(database, 4, "w", "c+3", 50)  # Never recommended.
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


def test_update_attribution_hour_is_final_after_its_window(database: Database) -> None:
    """After its window and the time for late records an hour is no longer computed."""
    insert_impression(database, 0, "u", ["a+1"])
    hours = [0.5, 1, 10, 10.5, 11.5, 26, 27.5, 29, 40]
    written = [attribution.update_attribution(database, NOON + timedelta(hours=hour)) for hour in hours]
    # At each run while recent, then not twice in an hour, and at 27.5 hours for the last time.
    assert written == [1, 1, 1, 0, 1, 1, 1, 0, 0]


def test_update_attribution_second_run_writes_same_rows(database: Database) -> None:
    """Rows change only with the data."""
    insert_impression(database, 2, "u", ["a+1", "b+2"])
    insert_watch_session(database, 1, "u", "b+2", 30)
    attribution.update_attribution(database, NOON)
    before = rows(database, OUTCOMES)
    assert attribution.update_attribution(database, NOON + timedelta(minutes=5)) == 2
    assert rows(database, OUTCOMES) == before
    insert_watch_session(database, 0.5, "u", "a+1", 60)
    attribution.update_attribution(database, NOON + timedelta(minutes=10))
    assert [row[1:5] for row in rows(database, OUTCOMES)] == [(1, 1, 1, 60), (2, 1, 1, 30)]


def read_outcomes(database: Database) -> list[tuple[int, int]]:
    """Return ``watched`` and ``rated`` by hour and position."""
    return rows(database, "SELECT watched, rated FROM impression_outcomes ORDER BY time, position")


def test_update_attribution_late_impression_takes_over_earlier_event(database: Database) -> None:
    """An impression that is written after the watch it preceded counts, and the older one no longer does."""
    insert_impression(database, 5, "u", ["a+1"])
    insert_watch_session(database, 2, "u", "a+1", 30)
    attribution.update_attribution(database, NOON)
    assert read_outcomes(database) == [(1, 0)]
    insert_impression(database, 2.5, "u", ["a+1"])
    attribution.update_attribution(database, NOON + timedelta(hours=2))
    assert read_outcomes(database) == [(0, 0), (1, 0)]


def test_update_attribution_session_that_grows_counts_its_minutes(database: Database) -> None:
    """More minutes are added; an earlier start before the impression removes the watch."""
    insert_impression(database, 1, "u", ["a+1"])
    insert_watch_session(database, 0.5, "u", "a+1", 10)
    attribution.update_attribution(database, NOON)
    with database.transaction() as cursor:
        cursor.execute("UPDATE watch_sessions SET last_minute = 24")
    attribution.update_attribution(database, NOON)
    assert rows(database, "SELECT watched, minutes FROM impression_outcomes") == [(1, 25)]
    with database.transaction() as cursor:
        cursor.execute("UPDATE watch_sessions SET started = started - INTERVAL '1 hour'")
    attribution.update_attribution(database, NOON)
    assert rows(database, "SELECT watched, minutes FROM impression_outcomes") == [(0, 0)]


def test_update_attribution_reads_each_event_once(database: Database) -> None:
    """A run takes what is queued, in chunks; without new rows it attributes nothing (issue 13)."""
    insert_impression(database, 1, "u", [f"m{n}+1" for n in range(10)])
    for n in range(10):
        insert_watch_session(database, 0.5, "u", f"m{n}+1", 10)
    assert rows(database, "SELECT count(*) FROM attribution_queue") == [(11,)]
    attribution.update_attribution(database, NOON, chunk=3)
    assert rows(database, "SELECT count(*) FROM attribution_queue") == [(0,)]
    with database.transaction() as cursor:  # Attributed rows are not computed again from the sessions.
        cursor.execute("DELETE FROM attributed_events WHERE movie_id = 'm3+1'")
    attribution.update_attribution(database, NOON)
    assert sum(watched for watched, _ in read_outcomes(database)) == 9


def test_update_attribution_killed_chunk_is_repeated(database: Database) -> None:
    """The queue and the attributed events change in one transaction."""
    insert_impression(database, 1, "u", ["a+1"])
    insert_watch_session(database, 0.5, "u", "a+1", 10)
    parameters = {"chunk": 9, "window": timedelta(1), "oldest": NOON - timedelta(9)}
    with closing(psycopg2.connect(database.url)) as killed, killed.cursor() as cursor:
        cursor.execute(attribution._ATTRIBUTE, parameters)
        assert cursor.fetchone() == (2,)
        backend = killed.info.backend_pid
    # Its locks last until the server notices.
    wait_until(lambda: rows(database, f"SELECT FROM pg_stat_activity WHERE pid = {backend}") == [])
    attribution.update_attribution(database, NOON)
    assert read_outcomes(database) == [(1, 0)]


def test_update_availability_unchanged_minutes_are_not_read(database: Database) -> None:
    """A run reads the requests of changed minutes only: what was deleted elsewhere stays counted (issue 13)."""
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
