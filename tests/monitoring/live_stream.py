"""Ratings, impressions and releases as they come in, and runs that follow them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
from tests.serving.models import TRAINED_THROUGH, movie_id_of
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
    return START + timedelta(hours=hours)


class Stream:
    """Writes ratings and impressions as ``ingest`` would."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._offsets = {0: 0, 1: 0}
        with database.transaction() as cursor:
            cursor.execute(
                "INSERT INTO topics (topic, topic_id) VALUES ('movielog', 'a') RETURNING topic_key"
            )
            self._stream = cursor.fetchone()[0]
            for partition in self._offsets:
                cursor.execute(
                    "INSERT INTO written_offsets VALUES (%s, %s, 0, 0, 0, 0, 0, 0, now())",
                    (self._stream, partition),
                )

    def rate(self, hours: float, user_id: int, item: int | str, rating: int, partition: int = 0) -> None:
        self._offsets[partition] += 1
        movie_id = item if isinstance(item, str) else movie_id_of(item)
        with self._database.transaction() as cursor:
            cursor.execute(
                'INSERT INTO ratings (time, topic_key, partition, "offset", user_id, movie_id, rating)'
                " VALUES (%s, %s, %s, %s, %s, %s, %s)",
                (
                    at(hours),
                    self._stream,
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
        movies = [
            {"movie_id": movie_id_of(item), "score": 1.0, "rating": rating, "propensity": 1.0}
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
    """One run of a process that knows nothing of those before; how many ratings it took up."""
    return LivePredictions(Predictor(store), **options).follow(database, now).ratings


def predictions(database: Database) -> list[tuple[Any, ...]]:
    return list(rows(database, PREDICTED))


def errors(database: Database) -> list[float]:
    return [
        float(e)
        for (e,) in rows(database, 'SELECT predicted - rating FROM predictions ORDER BY time, "offset"')
    ]


def release_at(store: FileStore, hours: float, **coverages: str) -> None:
    """A release of arms, each name a version, published at a given hour."""
    arms = tuple(Arm(name, version, 1 / len(coverages)) for name, version in coverages.items())
    publish_release(
        store,
        lambda before: msgspec.structs.replace(
            new_release(arms, author="test", reason="", after=before), created=at(hours)
        ),
    )
