"""Where ratings and watch sessions come from: the base data's files, and the database."""

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
from marquee.errors import TrainingDataError
from marquee.db import user_history
from marquee.db.pool import Database
from marquee.data.base_checks import COLUMNS
from marquee.data.side_information import SideInformation, by_id

_CHUNK = 100_000
_MICROSECONDS = 1_000_000
_DTYPES = {"user_id": "object", "movie_id": "object", "value": "float64", "time": "int64"}


@dataclass(frozen=True, slots=True)
class SourceData:
    """Frames of user_id, movie_id, value and time (microseconds since 1970, UTC), and where they are from.

    ``movies``: the catalogue, as far as this source lists one. ``hashes``: name and SHA-256 of each file read.
    """

    ratings: pd.DataFrame
    watch_sessions: pd.DataFrame
    movies: frozenset[str] = frozenset()
    hashes: tuple[tuple[str, str], ...] = ()
    facts: SideInformation = SideInformation()

    def on_scale(self, low: float, high: float, new_high: float) -> SourceData:
        """Ratings of ``low..high`` on ``low..new_high``, evenly stretched."""
        if high == new_high:
            return self
        values = low + (self.ratings["value"] - low) * (new_high - low) / (high - low)
        return replace(self, ratings=self.ratings.assign(value=values))


def empty_interactions() -> pd.DataFrame:
    """A frame with the columns and no row."""
    return pd.DataFrame({column: pd.Series(dtype=kind) for column, kind in _DTYPES.items()})


def read_base(directory: Path, until: datetime, fraction: float = 1.0) -> SourceData:
    """``ratings.csv`` (user_id, movie_id, rating, time in seconds) and, where there is one, ``movies.csv``.

    ``users.csv`` may say more of the users. Only ratings before ``until``, and of those in the file only the
    first ``fraction`` of the rows, which are in order of time. Raises :class:`TrainingDataError` when the
    file is absent or not of this form.
    """
    path = directory / RATINGS_FILE
    try:
        frame = pd.read_csv(path, dtype={"user_id": str, "movie_id": str}, keep_default_na=False)
        check_columns(path, frame.columns, RATING_COLUMNS)
        frame = frame.sort_values("time", kind="stable")
        if fraction < 1 and len(frame):
            frame = frame[frame["time"] < earliest_fraction_end(frame["time"].tolist(), fraction)]
        ratings = pd.DataFrame(
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
    ratings = ratings[ratings["time"] < _epoch(until)].reset_index(drop=True)
    users, movies = (read_optional_csv(directory / name) for name in (USERS_FILE, MOVIES_FILE))
    files = [
        path,
        *(directory / name for name in (USERS_FILE, MOVIES_FILE) if (directory / name).is_file()),
    ]
    hashes = tuple((f.name, hashlib.sha256(f.read_bytes()).hexdigest()) for f in files)
    facts = SideInformation(by_id(users, "user_id"), by_id(movies, "movie_id"))
    return SourceData(
        ratings, empty_interactions(), frozenset(facts.movies) | set(ratings["movie_id"]), hashes, facts
    )


def read_database(database: Database, until: datetime) -> SourceData:
    """Every rating and watch session before ``until``, fetched in pieces."""
    return SourceData(
        _collect(user_history.ratings_until(database, until)),
        _collect(user_history.watch_sessions_until(database, until)),
    )


def merge_sources(first: SourceData, second: SourceData) -> SourceData:
    """Both, one after the other."""
    return SourceData(
        _concat(first.ratings, second.ratings),
        _concat(first.watch_sessions, second.watch_sessions),
        first.movies | second.movies,
        first.hashes + second.hashes,
        first.facts.merged(second.facts),
    )


def _concat(*frames: pd.DataFrame) -> pd.DataFrame:
    filled = [frame for frame in frames if not frame.empty]
    return pd.concat(filled, ignore_index=True) if filled else empty_interactions()


def _collect(rows: Iterator[tuple[str, str, int, datetime]]) -> pd.DataFrame:
    chunks = []
    while chunk := list(islice(rows, _CHUNK)):
        frame = pd.DataFrame(chunk, columns=list(COLUMNS))
        frame["time"] = pd.to_datetime(frame["time"], utc=True).map(_epoch_of).astype("int64")
        chunks.append(frame.astype(_DTYPES))
    return _concat(*chunks)


def _epoch_of(time: pd.Timestamp) -> int:
    return time.value // 1000


def _epoch(time: datetime) -> int:
    """Microseconds since 1970, exactly: ``timestamp()`` would round."""
    return pd.Timestamp(time).value // 1000
