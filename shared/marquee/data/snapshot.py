"""Snapshot of all training data up to one event time, as immutable Parquet files."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from marquee.config import atomic_file, base_data
from marquee.data import deterministic_io
from marquee.data.catalog_feed import CatalogAnswer, CatalogFeed
from marquee.data.changed_days import LiveDays, LiveSnapshot
from marquee.data.interaction_frames import distinct_ids, empty_interactions
from marquee.data.side_information import SideInformation
from marquee.data.sources import TABLES, SourceData, read_base, read_database
from marquee.db.pool import Database
from marquee.db.privacy_marks import NO_MARKS, MarkSet
from marquee.errors import TrainingDataError

BASE, LIVE, WATCH_SESSIONS = "base.parquet", "live.parquet", "watch_sessions.parquet"
USERS, MOVIES, ABOUT = "users.parquet", "movies.parquet", "snapshot.json"
DAYS = "live_days.json"
LIVE_FILES = (LIVE, WATCH_SESSIONS, DAYS)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SnapshotRequest:
    """Selection of the training data.

    ``until``: only events before this time. ``base``: directory of the base data, None for none. ``base_fraction``:
    only this fraction of the base data, the oldest. ``rating_min``, ``rating_max``: the event log's rating scale, on
    which the model predicts. ``scale``: minimum and maximum of the base data's ratings, None for that of the import, or
    else of ``params.yaml``.
    """

    until: datetime
    base: Path | None
    base_fraction: float
    rating_max: float
    scale: tuple[float, float] | None = None
    rating_min: float = 1.0


class SnapshotInfo(msgspec.Struct, frozen=True):
    """Content of ``snapshot.json``.

    ``files``: SHA-256 of each base data file, by name. ``left_out``: number of rows that were left out, by table and
    cause. ``scale``: minimum and maximum of the base data's ratings, None for that of ``params.yaml``. ``catalog``:
    counts of the movie service's answer (:class:`~marquee.data.catalog_feed.CatalogAnswer`).
    """

    until: datetime
    base_fraction: float
    rating_max: float
    database: bool
    files: dict[str, str]
    left_out: dict[str, int] = {}
    scale: tuple[float, float] | None = None
    catalog: dict[str, int] = {}
    rating_min: float = 1.0

    @classmethod
    def describe(
        cls,
        request: SnapshotRequest,
        files: Mapping[str, str],
        left_out: Mapping[str, int],
        catalog: CatalogAnswer,
        *,
        database: bool,
    ) -> SnapshotInfo:
        """Return the description of a snapshot that ``request`` selected."""
        scale = request.scale or (base_data.read_scale(request.base) if request.base else None)
        selected = (request.until, request.base_fraction, request.rating_max)
        counts, low = catalog.counts, request.rating_min
        return cls(*selected, database, dict(files), dict(left_out), scale, counts, low)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Base data on their own rating scale, and live data on that of the event log."""

    about: SnapshotInfo
    base: SourceData
    live: SourceData


def write_snapshot(
    request: SnapshotRequest,
    database: Database | None,
    directory: Path,
    excluded: MarkSet = NO_MARKS,
    catalog: CatalogFeed | None = None,
    previous: LiveSnapshot | None = None,
) -> None:
    """Read base data and database, and write the snapshot to ``directory`` atomically.

    It is that of data in which no ``excluded`` user ever was.
    The base data are in a file of their own, which stays the same while the live part grows. What ``catalog`` says of
    the movies fills the attributes that the base data do not have, and its movies count as listed. Days of the database
    that are the same in ``previous`` are taken from it.
    """
    nothing = SourceData(empty_interactions(), empty_interactions())
    base = read_base(request.base, request.until, request.base_fraction, excluded) if request.base else nothing
    live = read_database(database, request.until, excluded, previous) if database else nothing
    left_out = base.left_out | live.left_out
    for cause, rows in left_out.items():
        _log.warning("%d rows are left out of the snapshot (%s); docs/retraining.md says why", rows, cause)
    described = CatalogAnswer()
    if catalog:
        described = catalog.read(sorted({*base.movies, *distinct_ids((live.ratings, live.watch_sessions), "movie_id")}))
    about = SnapshotInfo.describe(request, dict(base.hashes), left_out, described, database=database is not None)
    known = base.side_information.fill_movies(described.rows)
    with atomic_file.atomic_directory(directory) as out:
        deterministic_io.write_interactions(out / BASE, base.ratings)
        deterministic_io.write_interactions(out / LIVE, live.ratings)
        deterministic_io.write_interactions(out / WATCH_SESSIONS, live.watch_sessions)
        deterministic_io.write_texts(out / USERS, "user_id", known.users)
        movies = {movie_id: known.movies.get(movie_id, {}) for movie_id in base.movies | described.rows.keys()}
        deterministic_io.write_texts(out / MOVIES, "movie_id", movies)
        (out / DAYS).write_bytes(msgspec.json.encode(live.days))
        (out / ABOUT).write_bytes(msgspec.json.encode(about))


def read_live(directory: Path) -> LiveSnapshot:
    """Read the part of the snapshot in ``directory`` that the next one can take over (:data:`LIVE_FILES`).

    Raises :class:`TrainingDataError` if it has none.
    """
    try:
        days = msgspec.json.decode((directory / DAYS).read_bytes(), type=LiveDays)
    except (OSError, msgspec.MsgspecError) as error:
        raise TrainingDataError(f"{directory / DAYS} cannot be read: {error}") from error
    frames = (deterministic_io.read_interactions(directory / name) for name in (LIVE, WATCH_SESSIONS))
    return LiveSnapshot(days, dict(zip(TABLES, frames, strict=True)))


def read_about(directory: Path) -> SnapshotInfo:
    """Read the description of the snapshot in ``directory``. Raises :class:`TrainingDataError` if it is not one."""
    try:
        return msgspec.json.decode((directory / ABOUT).read_bytes(), type=SnapshotInfo)
    except (OSError, msgspec.MsgspecError) as error:
        raise TrainingDataError(f"{directory} cannot be read as a snapshot: {error}") from error


def read_side_information(directory: Path) -> SideInformation:
    """Read the side information of the snapshot in ``directory``, without its ratings; raises as :func:`read_about`."""
    return SideInformation(
        deterministic_io.read_texts(directory / USERS, "user_id"),
        deterministic_io.read_texts(directory / MOVIES, "movie_id"),
    )


def read_snapshot(directory: Path) -> Snapshot:
    """Read the snapshot in ``directory``. Raises :class:`TrainingDataError` if it is not one."""
    about, side_information = read_about(directory), read_side_information(directory)
    base, live, watch_sessions = (
        deterministic_io.read_interactions(directory / name) for name in (BASE, LIVE, WATCH_SESSIONS)
    )
    return Snapshot(
        about,
        SourceData(
            base,
            empty_interactions(),
            frozenset(side_information.movies),
            tuple(about.files.items()),
            side_information,
        ),
        SourceData(live, watch_sessions),
    )
