"""Sources of ratings and watch sessions: the base data's files and the database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from marquee.config import base_data
from marquee.config.base_data import MOVIES_FILE, RATINGS_FILE, USERS_FILE, earliest_fraction_end
from marquee.config.opaque_ids import is_valid_id
from marquee.config.timestamps import to_microseconds
from marquee.data.dvc_hash import hash_file
from marquee.data.interaction_csv import CsvReader
from marquee.data.interaction_frames import IDS, FrameBuilder, concatenate, empty_interactions, id_column
from marquee.data.side_information import SideInformation
from marquee.db import user_history
from marquee.db.pool import Database
from marquee.db.privacy_marks import NO_MARKS, MarkSet

Row = TypeVar("Row", bound=tuple[str, str, float, Any])

_CHUNK_ROWS = 20_000
_MICROSECONDS = 1_000_000
SUSPECT = "suspect account"
"""Cause of rows left out because the monitor has marked their user (docs/safety.md)."""


@dataclass(frozen=True, slots=True)
class SourceData:
    """Frames of interactions (:mod:`marquee.data.interaction_frames`), and their origin.

    ``movies``: the catalog, as far as the source lists one. ``hashes``: name and SHA-256 of each file read.
    ``left_out``: number of rows that were left out, by table and cause, such as ``ratings.csv: time``.
    """

    ratings: pd.DataFrame
    watch_sessions: pd.DataFrame
    movies: frozenset[str] = frozenset()
    hashes: tuple[tuple[str, str], ...] = ()
    side_information: SideInformation = SideInformation()
    left_out: dict[str, int] = field(default_factory=dict)

    def on_scale(self, low: float, high: float, new_low: float, new_high: float) -> SourceData:
        """Map ratings linearly from ``low..high`` to ``new_low..new_high``."""
        if (low, high) == (new_low, new_high):
            return self
        values = new_low + (self.ratings["value"] - low) * (new_high - new_low) / (high - low)
        return replace(self, ratings=self.ratings.assign(value=values))


def read_base(directory: Path, until: datetime, fraction: float = 1.0, excluded: MarkSet = NO_MARKS) -> SourceData:
    """Read base data: ``ratings.csv`` (user_id, movie_id, rating, time), as if ``excluded`` users were not in it.

    Users get the ids under which the database stores them.

    ``users.csv`` and ``movies.csv`` are optional side information. Only the oldest ``fraction`` of the ratings is
    read, and of those the ratings before ``until``. Raises :class:`TrainingDataError` as
    :func:`marquee.config.base_data.read_ratings`.
    """
    path = directory / RATINGS_FILE
    left_out: dict[str, Counter[str]] = {name: Counter() for name in (RATINGS_FILE, USERS_FILE, MOVIES_FILE)}
    ratings = _read_ratings(path, fraction, left_out[RATINGS_FILE], excluded)
    ratings = ratings[ratings["time"] < to_microseconds(until)].reset_index(drop=True)
    users = base_data.read_side_table(directory / USERS_FILE, "user_id", left_out[USERS_FILE])
    movies = base_data.read_side_table(directory / MOVIES_FILE, "movie_id", left_out[MOVIES_FILE])
    users = {excluded.stored_id(user_id): row for user_id, row in users.items()}
    users = {user_id: row for user_id, row in users.items() if not excluded.holds(user_id)}
    side_files = [f for f in (directory / USERS_FILE, directory / MOVIES_FILE) if f.is_file()]
    return SourceData(
        ratings,
        empty_interactions(),
        frozenset(movies) | set(id_column(ratings, "movie_id").categories),
        tuple((f.name, hash_file(f, "sha256")) for f in (path, *side_files)),
        SideInformation(users, movies),
        {f"{name}: {cause}": n for name, causes in left_out.items() for cause, n in causes.items()},
    )


def read_database(database: Database, until: datetime, excluded: MarkSet = NO_MARKS) -> SourceData:
    """Read all ratings and watch sessions before ``until`` but those of ``excluded`` users, by columns, in chunks.

    Rows with an implausible time or an invalid id, and those of suspect accounts, are left out and counted.
    """
    left_out = user_history.count_implausible_times(database)
    suspects = user_history.suspect_accounts(database)
    frames = []
    for table in ("ratings", "watch_sessions"):
        frame = _without_users(_read_table(database, table, until), excluded)
        valid = _drop_invalid_ids(frame)
        frames.append(_drop_users(valid, suspects))
        left_out[f"{table}: {base_data.INVALID_ID}"] = len(frame) - len(valid)
        left_out[f"{table}: {SUSPECT}"] = len(valid) - len(frames[-1])
    ratings, watch_sessions = frames
    return SourceData(ratings, watch_sessions, left_out={cause: n for cause, n in left_out.items() if n})


def merge_sources(first: SourceData, second: SourceData) -> SourceData:
    """Return the rows of both, ``first`` before ``second``."""
    return SourceData(
        concatenate(first.ratings, second.ratings),
        concatenate(first.watch_sessions, second.watch_sessions),
        first.movies | second.movies,
        first.hashes + second.hashes,
        first.side_information.merge(second.side_information),
        {**first.left_out, **second.left_out},
    )


def _read_ratings(path: Path, fraction: float, left_out: Counter[str], excluded: MarkSet) -> pd.DataFrame:
    rows = base_data.read_ratings(path, left_out)
    stored_id = cache(excluded.stored_id)
    tuples = ((stored_id(row.user_id), row.movie_id, row.rating, row.time * _MICROSECONDS) for row in rows)
    frame = _collect(_without(tuples, excluded))
    frame = frame.sort_values("time", kind="stable")
    if fraction < 1 and len(frame):
        frame = frame[frame["time"] < earliest_fraction_end(frame["time"].array, fraction)]
    return frame


def _without(rows: Iterable[Row], excluded: MarkSet) -> Iterable[Row]:
    """Return the rows whose first field is not a user of ``excluded``; each user is hashed once."""
    if not excluded:
        return rows
    holds = cache(excluded.holds)
    return (row for row in rows if not holds(row[0]))


def _without_users(frame: pd.DataFrame, excluded: MarkSet) -> pd.DataFrame:
    """Return the rows that are not of a user of ``excluded``; each user is hashed once."""
    if not excluded or frame.empty:
        return frame
    users = id_column(frame, "user_id")
    kept = ~np.array([excluded.holds(user) for user in users.categories], bool)[users.codes]
    return frame if kept.all() else frame[kept].reset_index(drop=True)


def _read_table(database: Database, table: str, until: datetime) -> pd.DataFrame:
    if database.copies:
        reader = CsvReader()
        user_history.copy_until(database, table, until, reader)
        return reader.finish()
    read = user_history.ratings_until if table == "ratings" else user_history.watch_sessions_until
    rows = read(database, until)
    return _collect((user, movie, value, to_microseconds(time)) for user, movie, value, time in rows)


def _drop_invalid_ids(frame: pd.DataFrame) -> pd.DataFrame:
    valid = pd.Series(True, frame.index)
    for name in IDS:
        valid &= frame[name].isin([id_ for id_ in id_column(frame, name).categories if is_valid_id(id_)])
    return frame if valid.all() else frame[valid].reset_index(drop=True)


def _drop_users(frame: pd.DataFrame, users: set[str]) -> pd.DataFrame:
    dropped = frame["user_id"].isin(users)
    return frame[~dropped].reset_index(drop=True) if dropped.any() else frame


def _collect(rows: Iterable[tuple[str, str, float, int]]) -> pd.DataFrame:
    builder, remaining = FrameBuilder(), iter(rows)
    while chunk := list(islice(remaining, _CHUNK_ROWS)):
        builder.add(chunk)
    return builder.build()
