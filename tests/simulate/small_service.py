"""Small worlds whose answers are known by construction, and a log kept in a list."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from marquee.simulate.catalogue import SyntheticCatalogue
from marquee.simulate.customers import SyntheticUsers
from marquee.simulate.delivery_counts import PendingRecord
from marquee.simulate.replay import ReplayedRating
from marquee.simulate.sessions import ActiveSessions, UserEvent

UTC_ZONE = ZoneInfo("UTC")
NOON = datetime(2026, 2, 14, 12, tzinfo=UTC)


class ListWriter:
    """Keeps the lines; each is safe at once, in partition 0."""

    waiting = ""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def ready(self) -> bool:
        return True

    def write(self, line: bytes, entry: PendingRecord) -> None:
        entry.written += 1
        entry.keep(0, len(self.lines))
        self.lines.append(line)

    def poll(self) -> None: ...

    def left(self) -> int:
        return 0


def made(
    users: int = 1_000, movies: int = 500, seed: int = 1, rating_max: int = 5, influence: float = 1.0
) -> SyntheticUsers:
    """Made customers of a made catalogue, all of one seed."""
    catalogue = SyntheticCatalogue(movies, seed)
    return SyntheticUsers(users, catalogue, seed=seed, rating_max=rating_max, influence=influence)


def taken(screens: ActiveSessions, count: int) -> list[UserEvent]:
    """The next ``count`` events, or as many as there are, all at noon."""
    events = (screens.next(NOON) for _ in range(count))
    return [event for event in events if event is not None]


def write_base(directory: Path, rows: Iterable[ReplayedRating]) -> Path:
    """Base data in the form that ``marquee data fetch`` writes."""
    rows = list(rows)
    directory.mkdir(parents=True, exist_ok=True)
    ratings = ["user_id,movie_id,rating,time"] + [
        f"{r.user_id},{r.movie_id},{r.rating},{r.time}" for r in rows
    ]
    movies = ["movie_id,title,year,genres"] + [
        f"{m},Title,1999,Drama" for m in sorted({r.movie_id for r in rows})
    ]
    (directory / "ratings.csv").write_text("\n".join(ratings) + "\n")
    (directory / "movies.csv").write_text("\n".join(movies) + "\n")
    return directory


def some_rows(users: int = 5, movies: int = 8) -> list[ReplayedRating]:
    """Each user rates every movie once, users in turn, a second apart; the first half of time is the past."""
    return [
        ReplayedRating(str(100 + n % users), f"film+{n // users}+1999", 1 + n % 5, 1000 + n)
        for n in range(users * movies)
    ]
