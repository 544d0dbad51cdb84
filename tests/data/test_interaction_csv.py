"""Interactions by columns: what a database copies out is what its rows say."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.records import rows

from marquee.config.opaque_ids import is_valid_id
from marquee.config.timestamps import to_microseconds
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


RATINGS = """
SELECT user_id, movie_id, rating, time FROM ratings WHERE time < %s ORDER BY time, topic_key, partition, "offset\""""
SESSIONS = """
SELECT user_id, movie_id, last_minute, started FROM watch_sessions WHERE started < %s
ORDER BY started, user_id, movie_id"""


@pytest.mark.parametrize("chunk_bytes", [1, 100, 1 << 20])
def test_read_database_has_the_rows_with_valid_ids(
    filled_url: str, chunk_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows are in order, and the others are counted, whatever the ids hold and however they fall into chunks."""
    monkeypatch.setattr(sources, "CsvReader", lambda: CsvReader(chunk_bytes))
    until, left_out = NOON + timedelta(microseconds=4), 0
    with closing(Database(filled_url)) as database:
        data = sources.read_database(database, until)
        for query, frame in ((RATINGS, data.ratings), (SESSIONS, data.watch_sessions)):
            stored = rows(database, query, (until,))
            valid = [row for row in stored if is_valid_id(row[0]) and is_valid_id(row[1])]
            expected = [(user, movie, float(value), to_microseconds(time)) for user, movie, value, time in valid]
            assert list(frame.itertuples(index=False, name=None)) == expected
            left_out += len(stored) - len(valid)
    assert sum(data.left_out.values()) == left_out > 0


def test_csv_reader_without_rows_is_an_empty_frame() -> None:
    """A table without rows has the columns of every other."""
    frame = interaction_csv.CsvReader().finish()
    assert (len(frame), list(frame.columns)) == (0, ["user_id", "movie_id", "value", "time"])
