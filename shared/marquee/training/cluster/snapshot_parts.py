"""Snapshot of a cluster's run: Parquet files in the object store, each read from its source by one task of a worker.

The base data are one part. Each table of the database is divided by days into parts of about equal size.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from marquee.config.atomic_file import atomic_directory
from marquee.data import deterministic_io, snapshot
from marquee.data.catalog_feed import CatalogAnswer, CatalogFeed
from marquee.data.interaction_csv import CsvReader
from marquee.data.interaction_frames import distinct_ids
from marquee.data.side_information import SideInformation
from marquee.data.snapshot import SnapshotInfo, SnapshotRequest
from marquee.data.sources import filter_rows, read_base
from marquee.db import user_history
from marquee.db.pool import Database
from marquee.db.privacy_marks import NO_MARKS, MarkReader, MarkSet
from marquee.training.cluster.user_shards import Staging
from marquee.training.pipeline.pipeline_run import SNAPSHOT, PipelineRun

if TYPE_CHECKING:
    from pyspark import SparkContext

BASE, LIVE, WATCH_SESSIONS, USERS = "base", "ratings", "watch_sessions", "users"
ATTRIBUTES = "attributes"


class _Part(msgspec.Struct, frozen=True):
    """Part of a source: the base data, or the rows of a table of some ``days`` since 1970."""

    source: str
    number: int
    days: list[int] = []

    @property
    def file(self) -> str:
        return parquet_name(self.source, self.number)


class _WrittenPart(msgspec.Struct, frozen=True):
    """Result of a part: numbers of rows left out, and the ids of movies; of the base data also hashes of the files."""

    left_out: dict[str, int]
    movie_ids: list[str] = []
    files: dict[str, str] = {}
    movies: dict[str, dict[str, str]] = {}


def parquet_name(source: str, number: int | str) -> str:
    """Return the file of a part; ``*`` names all parts of a source."""
    digits = number if isinstance(number, str) else f"{number:05}"
    return f"snapshot/{source}-{digits}.parquet"


def write_parts(context: SparkContext, staging: Staging, run: PipelineRun, parts: int) -> None:
    """Write the snapshot, each table in up to ``parts`` parts; the run keeps its item side and ``snapshot.json``.

    It is that of data in which no marked user ever was. ``run.movies_url`` describes the movies, as in
    :func:`marquee.data.snapshot.write_snapshot`.
    """
    staging.delete()  # A killed attempt may have divided the days in another way.
    marks, suspects, left_out = NO_MARKS, set[str](), dict[str, int]()
    request, database = run.request, run.database
    tasks = [_Part(BASE, 0)] if request.base else []
    if database is not None:
        marks, suspects = MarkReader(run.privacy_key).read(database), user_history.suspect_accounts(database)
        left_out = user_history.count_implausible_times(database)
        for table in (LIVE, WATCH_SESSIONS):
            tasks += _divide(database, table, request.until, parts)
    url = database.url if database is not None else ""
    write = partial(_write_part, staging, request, url, marks, suspects)
    written = context.parallelize(tasks, len(tasks)).map(write).collect() if tasks else []
    causes = Counter(left_out)
    for one in written:
        causes.update(one.left_out)
    base = next((one for one in written if one.files), _WrittenPart({}))
    seen = {*base.movies, *(movie_id for one in written for movie_id in one.movie_ids)}
    feed = CatalogFeed(run.movies_url, run.store) if run.movies_url else None
    described = feed.read(sorted(seen)) if feed else CatalogAnswer()
    known = SideInformation({}, base.movies).fill_movies(described.rows).movies
    movies = {movie_id: known.get(movie_id, {}) for movie_id in base.movies.keys() | described.rows.keys()}
    causes_found = {cause: rows for cause, rows in causes.items() if rows}
    about = SnapshotInfo.describe(request, base.files, causes_found, described, database=database is not None)
    with atomic_directory(run.path(SNAPSHOT)) as out:
        deterministic_io.write_texts(out / snapshot.MOVIES, "movie_id", movies)
        (out / snapshot.ABOUT).write_bytes(msgspec.json.encode(about))


def read_item_side(run: PipelineRun) -> tuple[SnapshotInfo, dict[str, dict[str, str]]]:
    """Return what the run keeps of its snapshot: its description, and the movies that the base data list."""
    directory = run.path(SNAPSHOT)
    about = msgspec.json.decode((directory / snapshot.ABOUT).read_bytes(), type=SnapshotInfo)
    return about, deterministic_io.read_texts(directory / snapshot.MOVIES, "movie_id")


def _divide(database: Database, table: str, until: datetime, parts: int) -> Iterator[_Part]:
    """Yield parts of a table, of consecutive days and about equal numbers of rows; none if it has no rows."""
    counts = user_history.day_digests(database, table, until)
    total = sum(count for count, _ in counts.values())
    before, days = 0, list[list[int]]([[] for _ in range(parts)])
    for day in sorted(counts):
        days[min(parts - 1, before * parts // total)].append(day)
        before += counts[day][0]
    for number, own in enumerate(filter(None, days)):
        yield _Part(table, number, own)


def _write_part(
    staging: Staging, request: SnapshotRequest, database_url: str, marks: MarkSet, suspects: set[str], part: _Part
) -> _WrittenPart:
    """Read one part from its source and write it to the object store."""
    with tempfile.TemporaryDirectory(prefix="marquee-") as temporary:
        path = Path(temporary) / "part.parquet"
        if part.source == BASE:
            return _write_base(staging, request, marks, part, path)
        reader = CsvReader()
        with closing(Database(database_url)) as database:
            user_history.copy_until(database, part.source, request.until, reader, part.days)
        frame, by_day = filter_rows(reader.finish(), part.source, suspects, marks)
        deterministic_io.write_interactions(path, frame)
        staging.write(part.file, path)
        return _WrittenPart(dict(sum(by_day.values(), Counter())), distinct_ids([frame], "movie_id"))


def _write_base(staging: Staging, request: SnapshotRequest, marks: MarkSet, part: _Part, path: Path) -> _WrittenPart:
    assert request.base is not None
    data = read_base(request.base, request.until, request.base_fraction, marks)
    deterministic_io.write_interactions(path, data.ratings)
    staging.write(part.file, path)
    known = data.side_information
    encoded = {user_id: {ATTRIBUTES: msgspec.json.encode(row).decode()} for user_id, row in known.users.items()}
    if encoded:
        deterministic_io.write_texts(path, "user_id", encoded)
        staging.write(parquet_name(USERS, 0), path)
    movies = {movie_id: dict(known.movies.get(movie_id, {})) for movie_id in data.movies}
    return _WrittenPart(data.left_out, [], dict(data.hashes), movies)
