"""Interactions by columns: what a database copies out is what its rows say."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from marquee.data import interaction_csv, sources
from marquee.data.interaction_csv import CsvReader
from marquee.db.pool import Database

NOON = datetime(2026, 2, 14, 12, 0, 0, 1, tzinfo=UTC)
IDS = ["7", "ü", 'quo"ted', '"', "back\\slash", "a b", "NULL", "nan", "\\N", "com,ma", "new\nline", "tab\t", "a/b"]


@pytest.fixture
def filled_url(database_url: str) -> str:
    """The URL of a database with two ratings and a watch session of each id, as user and as movie."""
    with closing(Database(database_url)) as database, database.transaction() as cursor:
        for number, id_ in enumerate(IDS * 2):
            cursor.execute(
                'INSERT INTO ratings (time, topic_key, partition, "offset", user_id, movie_id, rating)'
                " VALUES (%s, 1, 0, %s, %s, %s, %s)",
                (NOON + timedelta(microseconds=number % 5), number, id_, IDS[-number % 13], number % 5 + 1),
            )
        for number, id_ in enumerate(IDS):
            cursor.execute(
                "INSERT INTO watch_sessions (user_id, movie_id, started, ended, first_minute, last_minute)"
                " VALUES (%s, %s, %s, %s, 0, %s)",
                (id_, id_, NOON - timedelta(days=number), NOON, number),
            )
    return database_url


@pytest.mark.parametrize("chunk_bytes", [1, 100, 1 << 20])
def test_read_database_copied_equals_fetched(
    filled_url: str, chunk_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """COPY gives the rows, order and counts of a cursor, whatever the ids hold and however they fall into chunks."""
    monkeypatch.setattr(sources, "CsvReader", lambda: CsvReader(chunk_bytes))
    until = NOON + timedelta(microseconds=4)
    with closing(Database(filled_url)) as copied, closing(Database(filled_url, copies=False)) as fetched:
        by_columns, by_rows = (sources.read_database(database, until) for database in (copied, fetched))
    assert by_columns.left_out == by_rows.left_out
    assert sum(by_rows.left_out.values()) > 0
    assert len(by_rows.ratings) > 5
    pd.testing.assert_frame_equal(by_columns.ratings, by_rows.ratings)
    pd.testing.assert_frame_equal(by_columns.watch_sessions, by_rows.watch_sessions)


def test_csv_reader_without_rows_is_an_empty_frame() -> None:
    """A table without rows has the columns of every other."""
    frame = interaction_csv.CsvReader().finish()
    assert (len(frame), list(frame.columns)) == (0, ["user_id", "movie_id", "value", "time"])
