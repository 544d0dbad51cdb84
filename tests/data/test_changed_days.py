"""Incremental snapshots: what is taken from the last one and what is read give the same bytes as reading everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.records import rows

from marquee.data import snapshot
from marquee.data.changed_days import NOTHING_TAKEN, LiveSnapshot
from marquee.data.snapshot import SnapshotRequest
from marquee.db import user_history
from marquee.db.pool import Database
from marquee.db.privacy_marks import NO_MARKS, MarkReader, MarkSet, set_profiling

pytestmark = pytest.mark.servers
NOON = datetime(2026, 2, 14, 12, tzinfo=UTC)
KEY = "k" * 32
_RATING = (
    'INSERT INTO ratings (time, topic_key, partition, "offset", user_id, movie_id, rating)'
    " VALUES (%s, 1, 0, %s, %s, %s, %s)"
)
_SESSION = (
    "INSERT INTO watch_sessions (user_id, movie_id, started, ended, first_minute, last_minute)"
    " VALUES (%s, %s, %s, %s, 0, %s)"
)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database with ratings and watch sessions on eight days; one rating of each day has an invalid id."""
    with closing(Database(database_url)) as database:
        with database.transaction() as cursor:
            for number in range(80):
                time = NOON - timedelta(days=number % 8, seconds=number)
                user, movie = (str(number % 7), f"m+{number % 5}") if number >= 8 else ("9", "a/b")
                cursor.execute(_RATING, (time, number, user, movie, number % 5 + 1))
                cursor.execute(_SESSION, (str(number), f"m+{number % 5}", time, time, number))
            cursor.execute(_RATING, (datetime(1969, 12, 31, 23, tzinfo=UTC), 100, "1", "m+1", 3))
        yield database


@pytest.fixture
def days_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of days that each table was copied of."""
    copied: list[int] = []
    copy = user_history.copy_until

    def count(
        database: Database, table: str, until: datetime, out: user_history.ByteWriter, days: Sequence[int] | None = None
    ) -> None:
        copied.append(-1 if days is None else len(days))
        copy(database, table, until, out, days)

    monkeypatch.setattr(user_history, "copy_until", count)
    return copied


def take(database: Database, path: Path, previous: LiveSnapshot | None, marks: MarkSet = NO_MARKS) -> LiveSnapshot:
    """Write a snapshot of all events, and return its live part."""
    request = SnapshotRequest(NOON + timedelta(days=99), None, 1.0, 5.0)
    snapshot.write_snapshot(request, database, path, marks, previous=previous)
    return snapshot.read_live(path)


def check_same(database: Database, path: Path, previous: LiveSnapshot, marks: MarkSet = NO_MARKS) -> LiveSnapshot:
    """Take a snapshot onto ``previous`` and one of everything, and compare every byte of both."""
    taken = take(database, path / "onto", previous, marks)
    take(database, path / "whole", NOTHING_TAKEN, marks)
    for file in (path / "whole").iterdir():
        assert file.read_bytes() == (path / "onto" / file.name).read_bytes(), file.name
    return taken


def _nothing(database: Database) -> None:
    """Leave the database as it is."""


def _new_day(database: Database) -> None:
    with database.transaction() as cursor:
        cursor.execute(_RATING, (NOON + timedelta(days=1), 200, "8", "m+1", 4))


def _late_event(database: Database) -> None:
    with database.transaction() as cursor:
        cursor.execute(_RATING, (NOON - timedelta(days=5), 200, "8", "m+1", 4))


def _deleted_user(database: Database) -> None:
    with database.transaction() as cursor:
        cursor.execute("DELETE FROM watch_sessions WHERE user_id = '12'")


def _longer_session(database: Database) -> None:
    with database.transaction() as cursor:
        cursor.execute("UPDATE watch_sessions SET last_minute = 99 WHERE user_id IN ('11', '12')")


def _expired(database: Database) -> None:
    with database.transaction() as cursor:
        cursor.execute("DELETE FROM ratings WHERE time < %s", (NOON - timedelta(days=6),))


@pytest.mark.parametrize(
    ("change", "days"),
    [
        (_nothing, [0, 0]),
        (_new_day, [1, 0]),
        (_late_event, [1, 0]),
        (_deleted_user, [0, 1]),
        (_longer_session, [0, 2]),
        (_expired, [0, 0]),
    ],
)
def test_snapshot_reads_only_changed_days_and_has_the_same_bytes(
    database: Database, tmp_path: Path, days_read: list[int], change: Callable[[Database], None], days: list[int]
) -> None:
    """New days, late events, changed sessions, deletions and expiry: only the days that they touch are read."""
    first = take(database, tmp_path / "first", NOTHING_TAKEN)
    change(database)
    days_read.clear()
    second = check_same(database, tmp_path, first)
    assert days_read[:2] == days
    days_read.clear()
    check_same(database, tmp_path, second)
    assert days_read[:2] == [0, 0]
    counts = snapshot.read_snapshot(tmp_path / "onto").about.left_out
    assert counts["ratings: id"] == rows(database, "SELECT count(*) FROM ratings WHERE movie_id = 'a/b'")[0][0]


def test_snapshot_after_a_mark_leaves_its_user_out_and_after_its_end_reads_all_again(
    database: Database, tmp_path: Path, days_read: list[int]
) -> None:
    """A user who is marked later is left out of the days that are taken over; once unmarked, their rows are back."""
    first = take(database, tmp_path / "first", NOTHING_TAKEN)
    set_profiling(database, KEY, "3", allowed=False)
    marks = MarkReader(KEY).read(database)
    days_read.clear()
    second = check_same(database, tmp_path, first, marks)
    assert days_read[:2] == [0, 0]
    assert "3" not in set(second.frames["ratings"]["user_id"])
    set_profiling(database, KEY, "3", allowed=True)
    days_read.clear()
    third = check_same(database, tmp_path, second)
    assert days_read[:2] == [9, 8]
    assert "3" in set(third.frames["ratings"]["user_id"])


def test_snapshot_after_a_suspect_is_cleared_reads_all_again(database: Database, tmp_path: Path) -> None:
    """The rows of a suspect account are not in the last snapshot, so it is not used once the account is cleared."""
    with database.transaction() as cursor:
        cursor.execute(
            "INSERT INTO suspect_accounts (user_id, movie_id, level, time, log_p) VALUES ('2', 'm+1', 'high', %s, -9)",
            (NOON,),
        )
    first = take(database, tmp_path / "first", NOTHING_TAKEN)
    assert "2" not in set(first.frames["ratings"]["user_id"])
    with database.transaction() as cursor:
        cursor.execute("UPDATE suspect_accounts SET cleared = %s", (NOON,))
    assert "2" in set(check_same(database, tmp_path, first).frames["ratings"]["user_id"])
