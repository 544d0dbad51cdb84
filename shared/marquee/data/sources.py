"""Sources of ratings and watch sessions: the base data's files and the database."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from pathlib import Path

import pandas as pd

from marquee.config.base_data import (
    MOVIES_FILE,
    RATING_COLUMNS,
    RATINGS_FILE,
    USERS_FILE,
    earliest_fraction_end,
)
from marquee.config.csv_file import check_columns, read_optional_csv, unreadable
from marquee.data.base_checks import COLUMNS
from marquee.data.side_information import SideInformation, index_rows
from marquee.db import user_history
from marquee.db.pool import Database
from marquee.errors import TrainingDataError

_CHUNK_ROWS = 100_000
_MICROSECONDS = 1_000_000
_DTYPES = {"user_id": "object", "movie_id": "object", "value": "float64", "time": "int64"}


@dataclass(frozen=True, slots=True)
class SourceData:
    """Frames of user_id, movie_id, value and time (microseconds since 1970, UTC), and their origin.

    ``movies``: the catalog, as far as the source lists one. ``hashes``: name and SHA-256 of each file read.
    """

    ratings: pd.DataFrame
    watch_sessions: pd.DataFrame
    movies: frozenset[str] = frozenset()
    hashes: tuple[tuple[str, str], ...] = ()
    side_information: SideInformation = SideInformation()

    def on_scale(self, low: float, high: float, new_high: float) -> SourceData:
        """Map ratings linearly from ``low..high`` to ``low..new_high``."""
        if high == new_high:
            return self
        values = low + (self.ratings["value"] - low) * (new_high - low) / (high - low)
        return replace(self, ratings=self.ratings.assign(value=values))


def empty_interactions() -> pd.DataFrame:
    """Return a frame with the columns and no rows."""
    return pd.DataFrame({column: pd.Series(dtype=kind) for column, kind in _DTYPES.items()})


def read_base(directory: Path, until: datetime, fraction: float = 1.0) -> SourceData:
    """Read base data: ``ratings.csv`` (user_id, movie_id, rating, time in seconds).

    ``users.csv`` and ``movies.csv`` are optional side information. Only the oldest ``fraction`` of the ratings is
    read, and of those the ratings before ``until``. Raises :class:`TrainingDataError` if ratings.csv is absent or
    has other columns.
    """
    path = directory / RATINGS_FILE
    ratings = _read_ratings(path, fraction)
    ratings = ratings[ratings["time"] < _to_microseconds(until)].reset_index(drop=True)
    side_paths = (directory / USERS_FILE, directory / MOVIES_FILE)
    users, movies = (read_optional_csv(path) for path in side_paths)
    side_files = [path for path in side_paths if path.is_file()]
    hashes = tuple((f.name, hashlib.sha256(f.read_bytes()).hexdigest()) for f in (path, *side_files))
    side_information = SideInformation(index_rows(users, "user_id"), index_rows(movies, "movie_id"))
    catalogue = frozenset(side_information.movies) | set(ratings["movie_id"])
    return SourceData(ratings, empty_interactions(), catalogue, hashes, side_information)


def read_database(database: Database, until: datetime) -> SourceData:
    """Read all ratings and watch sessions before ``until``, in chunks."""
    return SourceData(
        _collect(user_history.ratings_until(database, until)),
        _collect(user_history.watch_sessions_until(database, until)),
    )


def merge_sources(first: SourceData, second: SourceData) -> SourceData:
    """Return the rows of both, ``first`` before ``second``."""
    return SourceData(
        _concat(first.ratings, second.ratings),
        _concat(first.watch_sessions, second.watch_sessions),
        first.movies | second.movies,
        first.hashes + second.hashes,
        first.side_information.merge(second.side_information),
    )


def _read_ratings(path: Path, fraction: float) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path, dtype={"user_id": str, "movie_id": str}, keep_default_na=False)
        check_columns(path, frame.columns, RATING_COLUMNS)
        frame = frame.sort_values("time", kind="stable")
        if fraction < 1 and len(frame):
            frame = frame[frame["time"] < earliest_fraction_end(frame["time"].tolist(), fraction)]
        return pd.DataFrame(
            {
                "user_id": frame["user_id"],
                "movie_id": frame["movie_id"],
                "value": frame["rating"].astype("float64"),
                "time": frame["time"].astype("int64") * _MICROSECONDS,
            }
        )
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError as error:
        raise TrainingDataError(f"{path}: rating and time must be numbers: {error}") from error


def _concat(*frames: pd.DataFrame) -> pd.DataFrame:
    filled = [frame for frame in frames if not frame.empty]
    return pd.concat(filled, ignore_index=True) if filled else empty_interactions()


def _collect(rows: Iterator[tuple[str, str, int, datetime]]) -> pd.DataFrame:
    chunks = []
    while chunk := list(islice(rows, _CHUNK_ROWS)):
        frame = pd.DataFrame(chunk, columns=list(COLUMNS))
        frame["time"] = pd.to_datetime(frame["time"], utc=True).map(_to_microseconds).astype("int64")
        chunks.append(frame.astype(_DTYPES))
    return _concat(*chunks)


def _to_microseconds(time: datetime) -> int:
    """Return the exact microseconds since 1970; ``timestamp()`` rounds."""
    return pd.Timestamp(time).value // 1000
