"""A small simulated service with known results, and an event log in memory."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from marquee.config.base_data import BaseRating
from marquee.events.log_scale import FIVE_STARS, LogScale
from marquee.simulate.catalog import SyntheticCatalog
from marquee.simulate.delivery_counts import RecordGroup
from marquee.simulate.producer import RecordProducer
from marquee.simulate.report import SimulationReport
from marquee.simulate.sessions import ActiveSessions, UserEvent
from marquee.simulate.synthetic_users import SyntheticUsers

UTC_ZONE = ZoneInfo("UTC")
NOON = datetime(2026, 2, 14, 12, tzinfo=UTC)


class ListProducer(RecordProducer):
    """A producer that keeps the records; each is acknowledged immediately, in partition 0."""

    def __init__(self) -> None:
        self.records: list[bytes] = []

    def write(self, raw: bytes, group: RecordGroup) -> None:
        group.written += 1
        group.acknowledge(0, len(self.records))
        self.records.append(raw)


def synthetic_users(
    users: int = 1_000, movies: int = 500, seed: int = 1, scale: LogScale = FIVE_STARS, influence: float = 1.0
) -> SyntheticUsers:
    """Return synthetic users of a synthetic catalog of the same seed."""
    catalog = SyntheticCatalog(movies, seed)
    return SyntheticUsers(users, catalog, seed=seed, scale=scale, influence=influence)


def take_events(sessions: ActiveSessions, count: int) -> list[UserEvent]:
    """Return the next ``count`` events, or all if there are fewer, with the time :data:`NOON`."""
    events = (sessions.next_event(NOON) for _ in range(count))
    return [event for event in events if event is not None]


def empty_report() -> SimulationReport:
    return SimulationReport(mode="synthetic", seed=1, started=datetime.now(UTC), updated=datetime.now(UTC))


def write_base_data(directory: Path, rows: Iterable[BaseRating]) -> Path:
    """Write base data in the form that ``marquee data fetch`` writes."""
    rows = list(rows)
    directory.mkdir(parents=True, exist_ok=True)
    ratings = ["user_id,movie_id,rating,time"] + [f"{r.user_id},{r.movie_id},{r.rating},{r.time}" for r in rows]
    movies = ["movie_id,title,year,genres"] + [f"{m},Title,1999,Drama" for m in sorted({r.movie_id for r in rows})]
    (directory / "ratings.csv").write_text("\n".join(ratings) + "\n")
    (directory / "movies.csv").write_text("\n".join(movies) + "\n")
    return directory


def sample_ratings(users: int = 5, movies: int = 8) -> list[BaseRating]:
    """Return one rating of every movie by every user, users in turn, one second apart."""
    return [
        BaseRating(str(100 + n % users), f"film+{n // users}+1999", 1 + n % 5, 1000 + n) for n in range(users * movies)
    ]
