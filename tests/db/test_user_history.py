"""Tests of the queries of user history."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.records import batch, rate, watch

from marquee.config.timestamps import to_microseconds
from marquee.db.pool import Database
from marquee.db.user_history import (
    _HISTORY,
    History,
    RatedMovie,
    WatchedMovie,
    copy_until,
    popular_movies,
    user_history,
)
from marquee.events.parser import EventParser
from marquee.ingest.store import write_batch

_MANY = """
INSERT INTO ratings
SELECT now(), 1, 0, n, (n % 5000)::text, 'heat+1995', 3 FROM generate_series(1, 100000) n;
INSERT INTO watch_sessions
SELECT (n % 5000)::text, 'f' || n || '+1995', now(), now(), 0, 1 FROM generate_series(1, 100000) n;
ANALYZE ratings, watch_sessions"""

DAY = datetime(2026, 2, 14, tzinfo=UTC)


def at(minute: int) -> str:
    """Return a record's time at this minute."""
    return f"2026-02-14T00:{minute:02d}"


def moment(minute: int) -> datetime:
    """Return the time at this minute."""
    return DAY + timedelta(minutes=minute)


def fill(database: Database, parser: EventParser) -> None:
    """Write some ratings and watches of two users."""
    lines = [
        rate(1, 4, "alien+1979", at(1)),
        rate(1, 2, "heat+1995", at(3)),
        rate(1, 5, "alien+1979", at(5)),
        rate(2, 3, "heat+1995", at(2)),
        watch(1, 10, "alien+1979", at(4)),
        watch(1, 30, "alien+1979", at(6)),
        watch(1, 0, "heat+1995", at(2)),
        watch(2, 7, "heat+1995", at(8)),
    ]
    write_batch(database, batch(lines), parser)


@pytest.fixture
def filled(database: Database, parser: EventParser) -> Database:
    """Return a database with the rows of :func:`fill`."""
    fill(database, parser)
    return database


def test_user_history_is_newest_first(filled: Database) -> None:
    """The newer of two ratings of a movie; the last minute and the last time of each watch session."""
    assert user_history(filled, "1", None, 5_000) == History(
        ratings=(RatedMovie("alien+1979", 5, moment(5)), RatedMovie("heat+1995", 2, moment(3))),
        watched=(WatchedMovie("alien+1979", 30, moment(6)), WatchedMovie("heat+1995", 0, moment(2))),
    )


def test_user_history_since_includes_the_moment(filled: Database) -> None:
    """The lower bound is inclusive."""
    assert user_history(filled, "1", moment(5), 5_000) == History(
        ratings=(RatedMovie("alien+1979", 5, moment(5)),),
        watched=(WatchedMovie("alien+1979", 30, moment(6)),),
    )


def test_user_history_unknown_user_is_empty(filled: Database) -> None:
    """An unknown user is not an error."""
    assert user_history(filled, "3", None, 5_000) == History((), ())


def test_user_history_is_limited_to_newest_thousand(database: Database, parser: EventParser) -> None:
    """A user with many ratings costs at most a thousand rows."""
    lines = [rate(1, 3, f"film+{n:04d}", f"2026-02-14T00:00:00.{n:06d}") for n in range(1, 1_200)]
    write_batch(database, batch(lines), parser)
    rated = user_history(database, "1", None, 5_000).ratings
    assert (len(rated), rated[0].movie_id, rated[-1].movie_id) == (1_000, "film+1199", "film+0200")


@pytest.mark.servers
def test_user_history_uses_indexes(plain_database: Database) -> None:
    """Among a hundred thousand ratings and watch sessions, no table is scanned."""
    with plain_database.transaction() as cursor:
        cursor.execute(_MANY)
        parameters = {"user_id": "7", "since": "-infinity", "limit": 1000}
        cursor.execute("EXPLAIN " + _HISTORY, parameters)
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "Seq Scan" not in plan


def test_popular_movies_score_decays_by_half_a_week(filled: Database, parser: EventParser) -> None:
    """An account counts once: a rating 1, a viewing 0.5."""
    ranked = popular_movies(filled, 10)
    assert [movie_id for movie_id, _ in ranked] == ["heat+1995", "alien+1979"]
    assert [score for _, score in ranked] == pytest.approx([3.0, 1.5])
    old = [rate(3, 1, "old+1950", "2026-02-07T00:00")] * 3
    write_batch(filled, batch(old, 100), parser)
    movie_id, score = popular_movies(filled, 10)[-1]
    assert movie_id == "old+1950"
    assert score == pytest.approx(0.5)
    assert len(popular_movies(filled, 1)) == 1


def test_popular_movies_empty_tables_return_nothing(database: Database) -> None:
    """An empty database is not an error."""
    assert popular_movies(database, 20) == []


def test_copy_until_writes_oldest_first(plain_database: Database, parser: EventParser) -> None:
    """Every rating, also those that were changed later, and sessions that started before; the bound is exclusive."""
    fill(plain_database, parser)

    def copy(table: str, until: datetime) -> list[str]:
        out = io.BytesIO()
        copy_until(plain_database, table, until, out)
        return out.getvalue().decode().splitlines()

    def microseconds(minute: int) -> int:
        return to_microseconds(moment(minute))

    assert copy("ratings", moment(5)) == [
        f"1,alien+1979,4,{microseconds(1)}",
        f"2,heat+1995,3,{microseconds(2)}",
        f"1,heat+1995,2,{microseconds(3)}",
    ]
    assert copy("watch_sessions", moment(8)) == [
        f"1,heat+1995,0,{microseconds(2)}",
        f"1,alien+1979,30,{microseconds(4)}",
    ]
