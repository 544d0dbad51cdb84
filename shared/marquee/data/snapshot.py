"""What there was to learn from at one event time, as Parquet files that never change."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from marquee.errors import TrainingDataError
from marquee.db.pool import Database
from marquee.config import atomic_file
from marquee.data import deterministic_io
from marquee.data.side_information import SideInformation
from marquee.data.sources import SourceData, empty_interactions, read_base, read_database

BASE, LIVE, WATCH_SESSIONS = "base.parquet", "live.parquet", "watch_sessions.parquet"
USERS, MOVIES, ABOUT = "users.parquet", "movies.parquet", "snapshot.json"


@dataclass(frozen=True, slots=True)
class SnapshotRequest:
    """What to learn from: events before ``until``, of the base data only the first ``base_fraction``.

    ``rating_max``: the top of the stream's scale, on which the model will rate.
    """

    until: datetime
    base: Path | None
    base_fraction: float
    rating_max: float


class SnapshotInfo(msgspec.Struct, frozen=True):
    """``snapshot.json``. ``files``: name of each base file -> its SHA-256."""

    until: datetime
    base_fraction: float
    rating_max: float
    database: bool
    files: dict[str, str]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The base data on their own scale, and what came in since on the stream's."""

    about: SnapshotInfo
    base: SourceData
    live: SourceData


def write_snapshot(request: SnapshotRequest, database: Database | None, directory: Path) -> None:
    """Read base data and database, and put the snapshot at ``directory``, whole.

    The base data are a file of their own: it stays the same while the live part grows.
    """
    nothing = SourceData(empty_interactions(), empty_interactions())
    base = read_base(request.base, request.until, request.base_fraction) if request.base else nothing
    live = read_database(database, request.until) if database else nothing
    about = SnapshotInfo(
        request.until, request.base_fraction, request.rating_max, database is not None, dict(base.hashes)
    )
    with atomic_file.atomic_directory(directory) as out:
        deterministic_io.write_interactions(out / BASE, base.ratings)
        deterministic_io.write_interactions(out / LIVE, live.ratings)
        deterministic_io.write_interactions(out / WATCH_SESSIONS, live.watch_sessions)
        deterministic_io.write_texts(out / USERS, "user_id", base.facts.users)
        deterministic_io.write_texts(out / MOVIES, "movie_id", {f: base.facts.movies.get(f, {}) for f in base.movies})
        (out / ABOUT).write_bytes(msgspec.json.encode(about))


def read_snapshot(directory: Path) -> Snapshot:
    """The snapshot at ``directory``; raises :class:`TrainingDataError` where it is not of this form."""
    try:
        about = msgspec.json.decode((directory / ABOUT).read_bytes(), type=SnapshotInfo)
    except (OSError, msgspec.MsgspecError) as error:
        raise TrainingDataError(f"{directory} holds no snapshot that can be read: {error}") from error
    facts = SideInformation(
        deterministic_io.read_texts(directory / USERS, "user_id"), deterministic_io.read_texts(directory / MOVIES, "movie_id")
    )
    base = deterministic_io.read_interactions(directory / BASE)
    live, watch_sessions = (deterministic_io.read_interactions(directory / name) for name in (LIVE, WATCH_SESSIONS))
    return Snapshot(
        about,
        SourceData(base, empty_interactions(), frozenset(facts.movies), tuple(about.files.items()), facts),
        SourceData(live, watch_sessions),
    )
