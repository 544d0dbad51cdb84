"""Bytes that a daily snapshot reads from the database, against reading everything."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from benchmarks.full_retraining import Size, filled_database
from benchmarks.registry import BenchmarkResult, at_most, benchmark
from marquee.data import sources
from marquee.data.changed_days import NOTHING_TAKEN, LiveSnapshot
from marquee.data.interaction_csv import CsvReader
from marquee.data.sources import SourceData
from marquee.db.pool import Database
from marquee.db.privacy_marks import NO_MARKS

_SIZE = Size(users=20_000, movies=2_000, ratings=400_000, watch_sessions=60_000)
_CHANGED = """
UPDATE ratings SET movie_id = 'changed' WHERE "offset" IN (
    SELECT "offset" FROM ratings WHERE time >= %s - INTERVAL '3 days' AND time < %s ORDER BY random() LIMIT 100)"""


class _Counted(NamedTuple):
    data: SourceData
    bytes: int
    seconds: float


@benchmark("snapshot_incremental_ratio")
def snapshot_incremental() -> Iterator[BenchmarkResult]:
    """Measure the snapshot of the day after one, of 720 days; 100 ratings of the three days before have changed."""
    with (
        tempfile.TemporaryDirectory() as directory,
        filled_database(_SIZE, Path(directory)) as url,
        closing(Database(url)) as database,
    ):
        ((newest,),) = database.read("SELECT max(time) FROM ratings", deadline_ms=60_000)
        last = datetime.combine(newest.date(), datetime.min.time(), UTC)
        first = _read(database, last, NOTHING_TAKEN).data
        frames = {"ratings": first.ratings, "watch_sessions": first.watch_sessions}
        with database.transaction() as cursor:
            cursor.execute(_CHANGED, (last, last))
        until = last + timedelta(days=1)
        everything = _read(database, until, None)
        incremental = _read(database, until, LiveSnapshot(first.days, frames))
    texts = {"user_id": str, "movie_id": str}
    same = incremental.data.ratings.astype(texts).equals(everything.data.ratings.astype(texts))
    reference = (
        f"everything: {len(everything.data.ratings):,} ratings and {len(everything.data.watch_sessions):,} watch "
        f"sessions, {everything.bytes:,} bytes in {everything.seconds:.1f} s; incremental: {incremental.bytes:,} bytes "
        f"in {incremental.seconds:.1f} s, digests included; rows {'equal' if same else 'DIFFER'}"
    )
    ratio = incremental.bytes / everything.bytes if same else float("inf")
    yield at_most("snapshot_incremental_ratio", ratio, "of the bytes", 0.05, reference=reference)


def _read(database: Database, until: datetime, previous: LiveSnapshot | None) -> _Counted:
    sizes: list[int] = []

    class CountingReader(CsvReader):
        """Reader that counts what the database sends."""

        def write(self, data: bytes) -> None:
            sizes.append(len(data))
            super().write(data)

    started = time.monotonic()
    with mock.patch.object(sources, "CsvReader", CountingReader):
        data = sources.read_database(database, until, NO_MARKS, previous)
    return _Counted(data, sum(sizes), time.monotonic() - started)
