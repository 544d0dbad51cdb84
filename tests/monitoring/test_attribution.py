"""Attribution of events to impressions: hand calculations, and runs that are repeated."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta

import msgspec
import psycopg2
import pytest
from tests.monitoring.row_inserts import NOON, insert
from tests.support.records import rows
from tests.support.waiting import wait_until

from marquee.db.pool import Database
from marquee.monitoring import attribution

pytestmark = pytest.mark.servers


@pytest.fixture
def database(each_database: Database) -> Database:
    return each_database


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
    """A run takes what is queued, in chunks; without new rows it attributes nothing."""
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


def insert_report(database: Database, table: str, hours_ago: float, user: str, shown: str, movie: object) -> None:
    """Insert a click on a movie, or a display of several, of the impression ``shown``."""
    column = "movie_id" if table == "clicks" else "movie_ids"
    time, offset = NOON - timedelta(hours=hours_ago), len(rows(database, f"SELECT FROM {table}"))
    insert(
        database,
        table,
        **{"time": time, "user_id": user, "recommendation_id": shown, column: movie},
        topic_key=1,
        partition=0,
        offset=offset,
    )


def test_update_attribution_counts_what_apps_report_by_position(database: Database) -> None:
    """Displays and clicks count once, for the recommendation that they name, if it was this user's and showed it."""
    insert_impression(database, 5, "u", ["a+1", "b+2", "c+3"])
    insert_impression(database, 5, "w", ["b+2"])
    insert_report(database, "impressions_shown", 4.9, "u", "u-5", ["a+1", "b+2"])
    for hours_ago in (4.8, 4.7):
        insert_report(database, "clicks", hours_ago, "u", "u-5", "b+2")  # Also seen; the second time changes nothing.
    insert_report(database, "clicks", 4.8, "w", "u-5", "a+1")  # Another user's.
    insert_report(database, "clicks", 4.8, "u", "u-5", "z+9")  # Not in the list.
    insert_report(database, "clicks", 6, "w", "w-5", "b+2")  # An hour before the list.
    app = {"recommendation_id": "w-5", "movie_id": "b+2", "user_id": "w", "seen": True, "opened": True}
    insert(database, "app_outcomes", **app, played=False, finished=False, at=NOON - timedelta(hours=4))
    attribution.update_attribution(database, NOON)
    counts = "SELECT position, shown, seen, clicked FROM impression_outcomes ORDER BY position"
    assert rows(database, counts) == [(1, 2, 2, 1), (2, 1, 1, 1), (3, 1, 0, 0)]
