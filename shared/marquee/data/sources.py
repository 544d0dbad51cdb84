"""Sources of ratings and watch sessions: the base data's files and the database."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from marquee.config import base_data
from marquee.config.base_data import MOVIES_FILE, RATINGS_FILE, USERS_FILE, earliest_fraction_end
from marquee.config.opaque_ids import is_valid_id
from marquee.config.timestamps import to_microseconds
from marquee.data.changed_days import NOTHING_TAKEN, Day, LiveDays, LiveSnapshot, count_by_day, digest_ids, join
from marquee.data.dvc_remote import hash_file
from marquee.data.interaction_csv import CsvReader
from marquee.data.interaction_frames import IDS, FrameBuilder, concatenate, empty_interactions, id_column
from marquee.data.side_information import SideInformation
from marquee.db import user_history
from marquee.db.pool import Database
from marquee.db.privacy_marks import NO_MARKS, MarkSet

_CHUNK_ROWS = 20_000
_MICROSECONDS = 1_000_000
TABLES = ("ratings", "watch_sessions")
_log = logging.getLogger(__name__)
SUSPECT = "suspect account"
"""Cause of rows left out because the monitor has marked their user (docs/safety.md)."""


@dataclass(frozen=True, slots=True)
class SourceData:
    """Frames of interactions (:mod:`marquee.data.interaction_frames`), and their origin.

    ``movies``: the catalog, as far as the source lists one. ``hashes``: name and SHA-256 of each file read.
    ``left_out``: number of rows that were left out, by table and cause, such as ``ratings.csv: time``. ``days``: by
    what the rows are recognized in the next snapshot.
    """

    ratings: pd.DataFrame
    watch_sessions: pd.DataFrame
    movies: frozenset[str] = frozenset()
    hashes: tuple[tuple[str, str], ...] = ()
    side_information: SideInformation = SideInformation()
    left_out: dict[str, int] = field(default_factory=dict)
    days: LiveDays = LiveDays()

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


def read_database(
    database: Database, until: datetime, excluded: MarkSet = NO_MARKS, previous: LiveSnapshot | None = None
) -> SourceData:
    """Read all ratings and watch sessions before ``until`` but those of ``excluded`` users, by columns, in chunks.

    Rows with an implausible time or an invalid id, and those of suspect accounts, are left out and counted. With
    ``previous``, the result has ``days``, and days that are the same in it are not read again: the result is the same.
    """
    left_out = Counter(user_history.count_implausible_times(database))
    suspects = user_history.suspect_accounts(database)
    hidden = digest_ids(suspects), excluded.fingerprints()
    if previous is not None and not previous.covers(*hidden):
        previous = NOTHING_TAKEN
    frames, tables = [], dict[str, dict[int, Day]]()
    for table in TABLES:
        digests = user_history.day_digests(database, table, until) if previous else {}
        kept = previous.unchanged(table, digests) if previous else set()
        changed = sorted(digests.keys() - kept) if previous else None
        frame, causes = filter_rows(_read_table(database, table, until, changed), table, suspects, excluded)
        if previous and kept:
            causes |= {day: Counter(previous.days.tables[table][day].left_out) for day in kept}
            frame = join(_without_users(previous.take(table, kept), excluded), frame)
            _log.info("%s: %d of %d days are taken from the last snapshot", table, len(kept), len(digests))
        frames.append(frame)
        tables[table] = {day: Day(*digests[day], dict(sorted(causes.get(day, {}).items()))) for day in sorted(digests)}
        left_out.update(sum(causes.values(), Counter[str]()))
    ratings, watch_sessions = frames
    days = LiveDays(*hidden, tables) if previous else LiveDays()
    return SourceData(ratings, watch_sessions, left_out={cause: n for cause, n in left_out.items() if n}, days=days)


def filter_rows(
    frame: pd.DataFrame, table: str, suspects: set[str], excluded: MarkSet
) -> tuple[pd.DataFrame, dict[int, Counter[str]]]:
    """Return the rows that are valid and not of suspects or ``excluded``, and the others by day and cause."""
    frame, causes = _without_users(frame, excluded), dict[int, Counter[str]]()
    for cause, rows in (
        (base_data.INVALID_ID, lambda frame: ~_have_valid_ids(frame)),
        (SUSPECT, lambda frame: frame["user_id"].isin(suspects).to_numpy()),
    ):
        dropped = rows(frame)
        if dropped.any():
            count_by_day(frame[dropped], f"{table}: {cause}", causes)
            frame = frame[~dropped].reset_index(drop=True)
    return frame, causes


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
    frame = _without_users(_collect(tuples), excluded)
    frame = frame.sort_values("time", kind="stable")
    if fraction < 1 and len(frame):
        frame = frame[frame["time"] < earliest_fraction_end(frame["time"].array, fraction)]
    return frame


def _without_users(frame: pd.DataFrame, excluded: MarkSet) -> pd.DataFrame:
    """Return the rows that are not of a user of ``excluded``; each user is hashed once."""
    if not excluded or frame.empty:
        return frame
    users = id_column(frame, "user_id")
    kept = ~np.array([excluded.holds(user) for user in users.categories], bool)[users.codes]
    return frame if kept.all() else frame[kept].reset_index(drop=True)


def _read_table(database: Database, table: str, until: datetime, days: list[int] | None) -> pd.DataFrame:
    reader = CsvReader()
    user_history.copy_until(database, table, until, reader, days)
    return reader.finish()


def _have_valid_ids(frame: pd.DataFrame) -> NDArray[np.bool_]:
    valid = np.ones(len(frame), bool)
    for name in IDS:
        ids = [id_ for id_ in id_column(frame, name).categories if is_valid_id(id_)]
        valid &= frame[name].isin(ids).to_numpy(bool)
    return valid


def _collect(rows: Iterable[tuple[str, str, float, int]]) -> pd.DataFrame:
    builder, remaining = FrameBuilder(), iter(rows)
    while chunk := list(islice(remaining, _CHUNK_ROWS)):
        builder.add(chunk)
    return builder.build()
