"""What users did, read back: one user's fresh history for an answer, everybody's for training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from marquee.telemetry.database import Database


@dataclass(frozen=True, slots=True)
class RatedFilm:
    """One film that a user rated."""

    movie_id: str
    rating: int
    time: datetime


@dataclass(frozen=True, slots=True)
class WatchedFilm:
    """One film that a user watched, up to ``last_minute``."""

    movie_id: str
    last_minute: int
    time: datetime


@dataclass(frozen=True, slots=True)
class History:
    """What one user did, newest first."""

    ratings: tuple[RatedFilm, ...]
    watched: tuple[WatchedFilm, ...]


def user_history(database: Database, user_id: str, since: datetime | None, deadline_ms: int) -> History:
    """What ``user_id`` rated and watched at or after ``since`` (None: ever), within ``deadline_ms``.

    At most the newest thousand of each. Raises DatabaseUnavailable when the deadline passes.
    """
    raise NotImplementedError


def popular(database: Database, limit: int) -> list[tuple[str, float]]:
    """The ``limit`` films most watched and rated of late, best first, with a score above 0."""
    raise NotImplementedError


def ratings_until(database: Database, until: datetime) -> Iterator[tuple[str, str, int, datetime]]:
    """Every rating before ``until`` as (user_id, movie_id, rating, time), oldest first, in batches."""
    raise NotImplementedError


def viewings_until(database: Database, until: datetime) -> Iterator[tuple[str, str, int, datetime]]:
    """Every viewing that began before ``until`` as (user_id, movie_id, last_minute, started)."""
    raise NotImplementedError
