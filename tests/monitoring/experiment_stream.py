"""A running experiment: its releases, and writers of the records that its analysis reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from tests.serving.models import make_movie_id, store_model, two_group_model

from marquee.db.pool import Database
from marquee.events.log_scale import FIVE_STARS
from marquee.experiments.declaration import Declaration, parse_declaration
from marquee.experiments.lifecycle import start
from marquee.monitoring.controller import Controller
from marquee.monitoring.experiment_timeline import Timeline
from marquee.monitoring.served_prediction import Predictor
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import CURRENT, Release, read_current_release
from marquee.registry.release_history import ReleaseHistory
from marquee.registry.rollout import promote

TIMEOUT_MS = 600
RATES_ONLY: Mapping[str, Any] = {"kind": "canary", "guardrails": {"rates": "50 %"}, "dwell_min": 0.001}
"""A canary whose one guardrail needs nothing but ratings."""


def declare(**fields: Any) -> Declaration:
    """Return a declaration of a canary with some fields changed."""
    return parse_declaration("canary", {**RATES_ONLY, **fields})


def start_canary(
    store: FileStore, declaration: Declaration, *, age: timedelta, mean: float = 3.01, old_mean: float = 3.0
) -> Release:
    """Start a canary ``age`` ago, with models that predict their ``mean`` for users they do not know."""
    through = datetime.now(UTC) - timedelta(days=30)
    promote(store, store_model(store, two_group_model(mean=old_mean), through), author="test")
    backdate(store, datetime.now(UTC) - timedelta(days=29))
    new = store_model(store, two_group_model(mean=mean), through + timedelta(days=1))
    start(store, declaration, version=new, author="test")
    return backdate(store, datetime.now(UTC) - age)


def begin_canary(
    stream: ExperimentStream, store: FileStore, declaration: Declaration | None = None, *, mean: float = 3.01
) -> tuple[Release, datetime]:
    """Start a canary an hour ago, with many ratings until now; return its release, and the present time."""
    release = start_canary(store, declaration or declare(), age=timedelta(hours=1), mean=mean)
    now = datetime.now(UTC)
    stream.rate_much(now)
    return release, now


def backdate(store: FileStore, created: datetime) -> Release:
    """Give the current release another time, in both of its documents."""
    release = msgspec.structs.replace(read_current_release(store)[0], created=created)
    data = msgspec.json.encode(release)
    for name in (CURRENT, f"releases/{release.number}.json"):
        store.delete(name)
        store.put_new(name, data)
    return release


def read_timeline(store: ObjectStore) -> Timeline:
    """Return the timeline of the running experiment."""
    history = ReleaseHistory(store)
    history.refresh()
    timeline = Timeline.of_running(history)
    assert timeline
    return timeline


def make_controller(store: ObjectStore, writer: ObjectStore | None = None) -> Controller:
    """Return the controller of a new process."""
    return Controller(Predictor(store), lambda: writer or store, scale=FIVE_STARS, caller_timeout_ms=TIMEOUT_MS)


def list_users(release: Release, arm: str, count: int) -> list[str]:
    """Return the first ids that the release assigns to ``arm``."""
    return [user for user, _ in zip(_iterate_users(release, arm), range(count), strict=False)]


def _iterate_users(release: Release, arm: str) -> Iterator[str]:
    for number in range(2_000, 2_000_000):
        if release.assign(str(number)).name == arm:
            yield str(number)


class ExperimentStream:
    """Writer of requests, ratings, viewings and impressions, as ``ingest`` writes them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._offset = 0
        with database.transaction() as cursor:
            cursor.execute("INSERT INTO topics (topic, topic_id) VALUES ('movielog', 'a') RETURNING topic_key")
            self._topic_key = cursor.fetchone()[0]
            cursor.execute(
                "INSERT INTO written_offsets VALUES (%s, 0, 0, 0, 0, 0, 0, 0, now())",
                (self._topic_key,),
            )

    def ask(
        self, time: datetime, user_id: str, items: tuple[int, ...] = (), *, status: int = 200, response_ms: int = 30
    ) -> None:
        """Write the line of a request."""
        movies = [make_movie_id(item) for item in items]
        self._insert("recommendation_requests", time, user_id, "s", status, movies, "", response_ms)

    def rate(self, time: datetime, user_id: str, item: int | str, rating: int) -> None:
        """Write a rating of an item row of the test's models, or of a movie id."""
        self._insert("ratings", time, user_id, make_movie_id(item) if isinstance(item, int) else item, rating)

    def rate_much(self, now: datetime, users: int = 60) -> None:
        """Write ratings of 3 and 4 by users whom no model knows, and a request."""
        for number in range(users):
            self.rate(now - timedelta(minutes=20 + number % 30), str(50_000 + number), number % 50, 3 + number % 2)
        self.ask(now - timedelta(seconds=20), "50000")

    def watch(self, time: datetime, user_id: str, item: int, minutes: int = 90) -> None:
        """Write a viewing."""
        self._execute(
            "INSERT INTO watch_sessions VALUES (%s, %s, %s, %s, 0, %s)",
            (user_id, make_movie_id(item), time, time + timedelta(minutes=minutes), minutes - 1),
        )

    def click(self, time: datetime, user_id: str, item: int) -> None:
        """Write a click on a movie."""
        self._insert("clicks", time, user_id, "shown", make_movie_id(item))

    def show(self, time: datetime, user_id: str, arm: str, release: int) -> None:
        """Write an impression without movies."""
        self._execute(
            "INSERT INTO impressions (time, id, user_id, arm, model_version, release, tier, movies) "
            "VALUES (%s, %s, %s, %s, 'v', %s, 'popular', '[]')",
            (time, f"{user_id}-{time.isoformat()}-{arm}", user_id, arm, release),
        )

    def _insert(self, table: str, time: datetime, *values: object) -> None:
        self._offset += 1
        row = (time, self._topic_key, 0, self._offset, *values)
        self._execute(f"INSERT INTO {table} VALUES ({', '.join(['%s'] * len(row))})", row)

    def _execute(self, statement: str, parameters: tuple[object, ...]) -> None:
        with self._database.transaction() as cursor:
            cursor.execute(statement, parameters)
