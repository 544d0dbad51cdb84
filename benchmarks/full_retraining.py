"""Database of synthetic ratings and watch sessions, and a retraining from it in a separate process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import psycopg2

from benchmarks.planted_world import World, planted_dataset
from marquee.data.dataset import Dataset
from marquee.db.migrate import migrate
from marquee.db.pool import Database
from marquee.db.retrain_runs import latest_runs
from marquee.local.embedded_postgres import EmbeddedPostgres

_COPY_ROWS = 1_000_000
_EPOCH = np.datetime64("2024-01-01T00:00:00", "us")


class Size(msgspec.Struct, frozen=True):
    """Size of the data in the database."""

    users: int
    movies: int
    ratings: int
    watch_sessions: int


class RetrainMeasure(msgspec.Struct, frozen=True):
    """Minutes and peak memory of a retraining, and the metrics in its record."""

    minutes: float
    gb: float
    outcome: str
    metrics: dict[str, float]


def measure_retraining(size: Size) -> RetrainMeasure:
    """Fill a PostgreSQL database, and run ``marquee retrain`` on it from snapshot to release."""
    with tempfile.TemporaryDirectory() as directory, filled_database(size, Path(directory)) as url:
        environment = {
            **os.environ,
            "MARQUEE_DATABASE_URL": url,
            "MARQUEE_OBJECTS_URL": f"file://{directory}/objects",
            "TMPDIR": directory,
        }
        command = [sys.executable, "-m", "marquee", "model", "retrain", "--now"]
        started = time.monotonic()
        subprocess.run(command, env=environment, check=True, stdout=sys.stderr)
        minutes = (time.monotonic() - started) / 60
        with closing(Database(url)) as database:
            (run,) = latest_runs(database, 1)
    metrics = dict(run.metrics)
    peak_mb = max(value for name, value in metrics.items() if name.endswith(".peak_mb"))
    return RetrainMeasure(minutes, peak_mb * 2**20 / 1e9, run.outcome, metrics)


@contextmanager
def filled_database(size: Size, directory: Path) -> Iterator[str]:
    """Yield the URL of a database with synthetic ratings, and with watch sessions of other pairs of the same users."""
    with EmbeddedPostgres(directory / "postgres") as server:
        migrate(server.url)
        world = World(size.users, size.movies, size.ratings + size.watch_sessions)
        _fill(server.url, planted_dataset(world), size)
        yield server.url


def _fill(url: str, dataset: Dataset, size: Size) -> None:
    everything = dataset.ratings
    watched = np.zeros(len(everything), bool)
    chosen = np.random.default_rng(1).permutation(len(everything))[: size.watch_sessions]
    watched[chosen] = True
    users, movies = (np.array(ids, object) for ids in (dataset.user_ids, dataset.movie_ids))
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO topics (topic, topic_id) VALUES ('planted', 'planted') RETURNING topic_key")
        ((topic_key,),) = cursor.fetchall()
        for watch_sessions in (False, True):
            part = everything.where(watched == watch_sessions)
            for start in range(0, len(part), _COPY_ROWS):
                rows = slice(start, start + _COPY_ROWS)
                times = _EPOCH + part.times[rows].astype("timedelta64[us]")
                frame = pd.DataFrame({"user_id": users[part.users[rows]], "movie_id": movies[part.items[rows]]})
                if watch_sessions:
                    frame = frame.assign(started=times, ended=times, first_minute=0, last_minute=60)
                else:
                    frame = frame.assign(time=times, rating=part.values[rows].astype(int), topic_key=topic_key)
                    frame = frame.assign(partition=0, offset=np.arange(start, start + len(frame)))
                _copy(cursor, "watch_sessions" if watch_sessions else "ratings", frame)
        cursor.execute("ANALYZE ratings, watch_sessions")


def _copy(cursor: object, table: str, frame: pd.DataFrame) -> None:
    columns = ", ".join(f'"{name}"' for name in frame.columns)
    with tempfile.TemporaryFile("w+") as file:
        frame.to_csv(file, index=False, header=False)
        file.seek(0)
        cursor.copy_expert(f"COPY {table} ({columns}) FROM STDIN (FORMAT csv)", file)  # type: ignore[attr-defined]


if __name__ == "__main__":
    result = measure_retraining(Size(*map(int, sys.argv[1:5])))
    print(msgspec.json.format(msgspec.json.encode(result)).decode())
