"""The cost of an experiment: a look at three million user-hours, and answers while a part of the users is enrolled."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.bench_serving import start_ratio, time_starts
from benchmarks.empty_database import empty_database
from benchmarks.registry import BenchmarkResult, at_most, benchmark, is_full_run
from benchmarks.serving import MOVIES, random_model, run_recommend, scratch, store
from marquee.db.pool import Database
from marquee.experiments.declaration import parse_declaration
from marquee.experiments.lifecycle import start
from marquee.experiments.ratio_estimates import sum_users
from marquee.monitoring.experiment_sums import read_look
from marquee.monitoring.experiment_timeline import Timeline
from marquee.registry.artifact import write_artifact
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.release_history import ReleaseHistory
from marquee.registry.rollout import promote
from marquee.serving.deadline import DeadlineExecutor
from marquee.serving.recommender import Recommender
from marquee.serving.release_cache import ReleaseCache

USERS, USERS_FULL, HOURS = 10_000, 60_000, 50
ANSWERS, ROUNDS, COLD_ROUNDS = 500, 15, 10
_MODEL_USERS, _FACTORS = 1_000, 32
_COUNTS = {
    "asks": (3, 5, 4, 1),
    "failed": (7, 11, 97, 96),
    "late": (5, 3, 89, 88),
    "lists": (3, 2, 3, 1),
    "watched": (2, 7, 3, 1),
}
"""Column of an hour -> a, b, m and d of ((a user + b hour) modulo m) / d, so that SQL and NumPy make the same hours."""

_FILL_USERS = """
INSERT INTO experiment_users (experiment, user_id, arm, enrolled, first_asked, crossed, pre_minutes, pre_asks)
SELECT %(name)s, u::text, CASE u %% 2 WHEN 0 THEN 'control' ELSE 'canary' END, %(start)s, %(start)s, false, u %% 90,
       u %% 7
FROM generate_series(0, %(users)s - 1) AS u"""
_FILL_HOURS = """
INSERT INTO experiment_hours (time, experiment, user_id, arm, {columns}, minutes, all_minutes, computed)
SELECT %(start)s + h * INTERVAL '1 hour', %(name)s, u::text, CASE u %% 2 WHEN 0 THEN 'control' ELSE 'canary' END,
       {values}, 0, 0, %(start)s
FROM generate_series(0, %(users)s - 1) AS u, generate_series(0, %(hours)s - 1) AS h"""


@benchmark("look_seconds")
def read_sums() -> Iterable[BenchmarkResult]:
    """Read all sums of a look, and compare those of requests and lists with NumPy's."""
    users = USERS_FULL if is_full_run() else USERS
    timeline = _read_timeline(_start_canary("look", users=10, factors=8, movies=50))
    with empty_database() as server, closing(Database(server.url)) as database:
        _fill(database, timeline, users)
        seconds = []
        for _ in range(3):
            began = time.perf_counter()
            found = read_look(database, timeline, timeline.started + timedelta(days=3), 4.0, {})
            seconds.append(time.perf_counter() - began)
    totals = _total(users)
    totals["bad"] = totals["failed"] + totals["late"]
    number = np.arange(users)
    for arm, parity in (("control", 0), ("canary", 1)):
        kept = number % 2 == parity
        for metric, y, x in (("answered", "bad", "asks"), ("watched", "watched", "lists")):
            expected = sum_users(totals[y][kept], totals[x][kept], number[kept] % 90, number[kept] % 7)
            np.testing.assert_allclose(found.sums[metric][arm], expected, rtol=1e-9)
    reference = f"{users * HOURS:,} user-hours of {users:,} users; sums equal NumPy's to 1e-9"
    yield at_most("look_seconds", min(seconds), "s", 5, reference=reference, interval=(min(seconds), max(seconds)))


@benchmark("enrolled_p99_ratio", "enrolled_cold_start_ratio")
def enrolled() -> Iterable[BenchmarkResult]:
    """Answer the same users, and start, with one arm and with a canary for 20 % of the users, in turn."""
    plain = store(_MODEL_USERS, _FACTORS)
    split = _start_canary("split", users=_MODEL_USERS, factors=_FACTORS, movies=MOVIES)
    recommenders = [_recommender(plain), _recommender(split)]
    with threadpool_limits(1):
        rounds = [_time_round(recommenders, number) for number in range(ROUNDS + 1)][1:]
    ratios = [enrolled_us / plain_us for plain_us, enrolled_us in rounds]
    low, median, high = statistics.quantiles(ratios, n=4)
    medians = [statistics.median(times) for times in zip(*rounds, strict=True)]
    reference = (
        f"p99 of an answer {medians[0]:.0f} us with one arm, {medians[1]:.0f} us with a canary; "
        f"the assignment takes {_time_assignment(recommenders[1]):.1f} us"
    )
    yield at_most("enrolled_p99_ratio", median, "ratio", 1.15, reference=reference, interval=(low, high))
    os.sync()
    times = time_starts(lambda: run_recommend(split), lambda: run_recommend(plain), COLD_ROUNDS)
    yield start_ratio("enrolled_cold_start_ratio", 1.15, *times, "one arm")


def _start_canary(name: str, *, users: int, factors: int, movies: int) -> FileStore:
    """Return a store whose release gives a second model to 20 % of the users, with as many in control."""
    objects, through = FileStore(scratch() / name), datetime(2026, 1, 1, tzinfo=UTC)
    old, new = (
        write_artifact(objects, random_model(users, factors, movies=movies, seed=seed), trained_through=through)
        for seed in (1, 2)
    )
    promote(objects, old, author="benchmark")
    start(objects, parse_declaration("canary", {"kind": "canary", "ladder": [0.2]}), version=new, author="benchmark")
    return objects


def _read_timeline(objects: FileStore) -> Timeline:
    history = ReleaseHistory(objects)
    history.refresh()
    timeline = Timeline.of_running(history)
    assert timeline
    return timeline


def _fill(database: Database, timeline: Timeline, users: int) -> None:
    parameters = {"name": timeline.name, "start": timeline.started, "users": users, "hours": HOURS}
    values = ", ".join(f"({a} * u + {b} * h) %% {m} / {d}" for a, b, m, d in _COUNTS.values())
    with database.transaction(deadline_ms=300_000) as cursor:
        cursor.execute(_FILL_USERS, parameters)
        cursor.execute(_FILL_HOURS.format(columns=", ".join(_COUNTS), values=values), parameters)


def _total(users: int) -> dict[str, np.ndarray]:
    u, h = np.arange(users)[:, None], np.arange(HOURS)
    return {name: ((a * u + b * h) % m // d).sum(1).astype(float) for name, (a, b, m, d) in _COUNTS.items()}


def _recommender(objects: FileStore) -> Recommender:
    cache = ReleaseCache(objects, 1e6)
    assert cache.get(60) is not None
    return Recommender(cache, objects=DeadlineExecutor("object store", deadline_ms=1_000))


def _time_round(recommenders: Sequence[Recommender], number: int) -> list[float]:
    """Return the 99th percentile of the answers of each recommender in us; they answer each user in turn."""
    now = datetime.now(UTC)
    times: list[list[float]] = [[] for _ in recommenders]
    for user in range(ANSWERS):
        for recommender, found in zip(recommenders, times, strict=True):
            began = time.perf_counter()
            recommender.answer(str((number * ANSWERS + user) * 7919 % _MODEL_USERS), now)
            found.append((time.perf_counter() - began) * 1e6)
    return [float(np.quantile(found, 0.99)) for found in times]


def _time_assignment(recommender: Recommender) -> float:
    """Return the time in us that the assignment of a user takes."""
    serving = recommender.cache.get()
    assert serving is not None
    began = time.perf_counter()
    for user in range(_MODEL_USERS):
        serving.release.assign(str(user))
    return (time.perf_counter() - began) * 1e6 / _MODEL_USERS
