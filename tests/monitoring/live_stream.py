"""Writers of ratings, impressions and releases, and runs of the prequential evaluation over them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
from tests.serving.models import TRAINED_THROUGH, make_movie_id
from tests.support.records import rows

from marquee.db.pool import Database
from marquee.monitoring.live_predictions import LivePredictions
from marquee.monitoring.served_prediction import Predictor
from marquee.registry.arm_assignment import Arm
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.release import new_release, publish_release

START = TRAINED_THROUGH + timedelta(days=1)
NOW = START + timedelta(days=3)
PREDICTED = """
SELECT user_id, predicted, model_version, arm, source, reason FROM predictions
ORDER BY time, topic_key, partition, "offset\""""


def at(hours: float) -> datetime:
    """Return the time ``hours`` after ``START``."""
    return START + timedelta(hours=hours)


class LiveStream:
    """Writer of ratings and impressions to two partitions of a topic, as ``ingest`` writes them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._offsets = {0: 0, 1: 0}
        with database.transaction() as cursor:
            cursor.execute("INSERT INTO topics (topic, topic_id) VALUES ('movielog', 'a') RETURNING topic_key")
            self._topic_key = cursor.fetchone()[0]
            for partition in self._offsets:
                cursor.execute(
                    "INSERT INTO written_offsets VALUES (%s, %s, 0, 0, 0, 0, 0, 0, now())",
                    (self._topic_key, partition),
                )

    def rate(self, hours: float, user_id: int | str, item: int | str, rating: int, partition: int = 0) -> None:
        """Write a rating of an item of the test model, or of a movie id."""
        self._offsets[partition] += 1
        movie_id = item if isinstance(item, str) else make_movie_id(item)
        with self._database.transaction() as cursor:
            cursor.execute(
                'INSERT INTO ratings (time, topic_key, partition, "offset", user_id, movie_id, rating)'
                " VALUES (%s, %s, %s, %s, %s, %s, %s)",
                (
                    at(hours),
                    self._topic_key,
                    partition,
                    self._offsets[partition],
                    str(user_id),
                    movie_id,
                    rating,
                ),
            )

    def show(
        self, hours: float, user_id: int, version: str, ratings: dict[int, float | None], arm: str = "control"
    ) -> None:
        """Write an impression with the items and predicted ratings of ``ratings``."""
        movies = [
            {"movie_id": make_movie_id(item), "score": 1.0, "rating": rating, "propensity": 1.0}
            for item, rating in ratings.items()
        ]
        with self._database.transaction() as cursor:
            cursor.execute(
                "INSERT INTO impressions VALUES (%s, %s, %s, %s, %s, 1, 'personalised', %s)",
                (
                    at(hours),
                    f"{user_id}-{hours}",
                    str(user_id),
                    arm,
                    version,
                    msgspec.json.encode(movies).decode(),
                ),
            )


def follow(database: Database, store: FileStore, now: datetime = NOW, **options: Any) -> int:
    """Run the evaluation in a new process; return the number of ratings evaluated."""
    return LivePredictions(Predictor(store), **options).follow(database, now).ratings


def read_predictions(database: Database) -> list[tuple[Any, ...]]:
    """Return user, prediction, version, arm, source and reason of each prediction, by time."""
    return list(rows(database, PREDICTED))


def read_errors(database: Database) -> list[float]:
    """Return predicted minus given rating of each prediction, by time."""
    query = 'SELECT (predicted - rating)::float8 FROM predictions ORDER BY time, "offset"'
    return [float(str(error)) for (error,) in rows(database, query)]


def release_at(store: FileStore, hours: float, **versions: str) -> None:
    """Publish a release at ``at(hours)``; keywords are arms and their versions, with equal weights."""
    arms = tuple(Arm(name, version, 1 / len(versions)) for name, version in versions.items())
    publish_release(
        store,
        lambda before: msgspec.structs.replace(
            new_release(arms, author="test", reason="", after=before), created=at(hours)
        ),
    )
