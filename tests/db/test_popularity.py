"""Tests of the table of popular movies: what it counts, what a run costs, and records dated in the future."""

from __future__ import annotations

import time

import pytest
from tests.support.records import batch, rate, watch

from marquee.db.pool import Database
from marquee.db.user_history import popular_movies
from marquee.events.parser import EventParser
from marquee.ingest.store import write_batch
from marquee.monitoring.movie_counts import KEPT, update_popularity

_READ_MS = 150
"""The deadline of `recommend` for the popular list, with a caller's time-out of 600 ms."""

# Movie n is watched as often as the multiples of its number allow: film+0 most often.
_MANY_WATCHES = """
INSERT INTO watches
SELECT now() - n * INTERVAL '0.05 seconds', 1, n %% 3, n, (n %% 5000)::text,
       'film+' || least(n %% 400, n %% 61) || '+1990', 1
FROM generate_series(%s, %s) n"""

_FUTURE = """
INSERT INTO watches VALUES (%s, 1, 0, %s, '5', 'future+2099', 7)"""


def _execute(database: Database, statement: str, parameters: tuple[object, ...] = ()) -> None:
    with database.transaction(deadline_ms=60_000) as cursor:
        cursor.execute(statement, parameters)


def test_update_popularity_equals_the_list_of_all_rows(database: Database, parser: EventParser) -> None:
    """Counted in two runs, with an old record in the second, the list is that of the rows themselves."""
    write_batch(
        database,
        batch([rate(1, 4, "alien+1979"), watch(1, 3, "heat+1995"), watch(2, 4, "heat+1995")]),
        parser,
    )
    of_rows = popular_movies(database, 10)
    assert update_popularity(database) == 2
    assert dict(popular_movies(database, 10)) == pytest.approx(dict(of_rows))
    old = [rate(3, 1, "old+1950", "2020-02-07T00:00"), rate(3, 1, "heat+1995")]
    write_batch(database, batch(old, 100), parser)
    assert update_popularity(database) == 2
    counted = popular_movies(database, 10)
    _execute(database, "TRUNCATE popular_movies, popularity_progress")
    assert dict(counted) == pytest.approx(dict(popular_movies(database, 10)))
    assert [movie_id for movie_id, _ in counted] == ["heat+1995", "alien+1979", "old+1950"]


def test_update_popularity_again_counts_nothing(database: Database, parser: EventParser) -> None:
    """A record is counted once, however often the monitor runs."""
    write_batch(database, batch([rate(1, 4, "alien+1979")]), parser)
    update_popularity(database)
    before = popular_movies(database, 10)
    assert update_popularity(database) == 0
    assert popular_movies(database, 10) == before


def test_update_popularity_counts_an_account_once(database: Database, parser: EventParser) -> None:
    """One account that rates and watches a movie all day counts less than two others, in one run or in many."""
    honest = [rate(user, 4, "heat+1995") for user in (1, 2)]
    honest += [watch(user, minute, "heat+1995") for user in (1, 2) for minute in (1, 2)]
    write_batch(database, batch(honest), parser)
    for n in range(3):
        pushed = [rate(9, 5, "pushed+1999", f"2026-02-14T0{n}:00:0{second}") for second in range(9)]
        pushed += [watch(9, minute, "pushed+1999", f"2026-02-14T0{n}:1{minute}") for minute in range(9)]
        write_batch(database, batch(pushed, 100 * (n + 1), partition=n % 2), parser)
        of_rows = dict(popular_movies(database, 10)) if n == 0 else {}
        update_popularity(database)
        counted = dict(popular_movies(database, 10))
        assert counted["heat+1995"] == pytest.approx(2 * counted["pushed+1999"], rel=0.01)
        assert n or counted == pytest.approx(of_rows)


def test_popular_movies_beside_short_table_is_filled_up(database: Database, parser: EventParser) -> None:
    """Movies that the monitor has not counted yet follow those that it has."""
    write_batch(database, batch([rate(1, 4, "alien+1979")]), parser)
    update_popularity(database)
    write_batch(database, batch([rate(1, 4, "heat+1995"), rate(2, 4, "heat+1995")], 100), parser)
    assert [movie_id for movie_id, _ in popular_movies(database, 20)] == ["alien+1979", "heat+1995"]
    assert [movie_id for movie_id, _ in popular_movies(database, 1)] == ["alien+1979"]


@pytest.mark.parametrize("year", [2099, 9022])
@pytest.mark.parametrize("counted", [True, False])
def test_popular_movies_record_dated_in_the_future_leaves_the_list_full(
    database: Database, parser: EventParser, year: int, counted: bool
) -> None:
    """It counts like one of now, with and without the monitor's table."""
    lines = [rate(n, 5, f"film+{n}+1990", "2026-11-29T10:00") for n in range(30)]
    write_batch(database, batch(lines), parser)
    _execute(database, _FUTURE, (f"{year}-11-29T10:00:00Z", 10_000))
    if counted:
        assert update_popularity(database) == 31
    popular = popular_movies(database, 200)
    assert len(popular) == 31
    assert all(0 < score <= 1 for _, score in popular)
    assert len(popular_movies(database, 20)) == 20


@pytest.mark.parametrize("year", [2099, 9022])
def test_update_popularity_after_future_record_goes_on(database: Database, parser: EventParser, year: int) -> None:
    """Later records count; they are new by their offset, not by their time."""
    _execute(database, _FUTURE, (f"{year}-01-01T00:00:00Z", 5))
    update_popularity(database)
    write_batch(database, batch([rate(1, 4, "alien+1979")], 10), parser)
    assert update_popularity(database) == 1
    assert {movie_id for movie_id, _ in popular_movies(database, 10)} == {"alien+1979", "future+2099"}


@pytest.mark.servers
def test_popular_movies_with_a_million_watches_keeps_the_deadline(plain_database: Database) -> None:
    """Before the monitor's first run, and after it; a run without new records costs next to nothing."""
    _execute(plain_database, _MANY_WATCHES, (1, 1_000_000))
    _execute(plain_database, _FUTURE, ("9022-01-01T00:00:00Z", 2_000_000))
    assert len(popular_movies(plain_database, 20, _READ_MS)) == 20
    start = time.monotonic()
    update_popularity(plain_database)
    assert time.monotonic() - start < 10
    popular = popular_movies(plain_database, 20, _READ_MS)
    assert len(popular) == 20
    assert popular[0][0] == "film+0+1990"
    while update_popularity(plain_database):
        pass
    start = time.monotonic()
    assert update_popularity(plain_database) == 0
    assert time.monotonic() - start < 1
    assert len(popular_movies(plain_database, 20, _READ_MS)) == 20


@pytest.mark.servers
def test_update_popularity_keeps_the_most_popular_movies(plain_database: Database) -> None:
    """The table does not grow with movies that are hardly watched."""
    _execute(
        plain_database,
        "INSERT INTO ratings SELECT now() - n * INTERVAL '1 day', 1, 0, n, '1', 'film+' || n, 3"
        " FROM generate_series(1, %s) n",
        (KEPT + 100,),
    )
    update_popularity(plain_database)
    ((kept,),) = plain_database.read("SELECT count(*) FROM popular_movies", deadline_ms=5_000)
    assert kept == KEPT
    assert popular_movies(plain_database, 1)[0][0] == "film+1"
