"""Interleaved lists: an answer drafted from two models against a plain one, on a catalog of 27,000 movies."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.registry import BenchmarkResult, at_most, benchmark
from benchmarks.serving import MOVIES, random_model
from marquee.experiments.declaration import parse_declaration
from marquee.experiments.lifecycle import start
from marquee.registry.artifact import write_artifact
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.rollout import promote
from marquee.serving.deadline import DeadlineExecutor
from marquee.serving.recommender import Recommender
from marquee.serving.release_cache import ReleaseCache

USERS, FACTORS, ROUNDS, LISTS = 1_000, 128, 31, 20


def _load(store: FileStore) -> Recommender:
    """Return a recommender that logs, with prepared models, as an instance has after its first seconds."""
    objects = DeadlineExecutor("object store", deadline_ms=10_000)
    recommender = Recommender(ReleaseCache(store, 3_600, background=False), objects=objects, logs_reasons=True)
    recommender.answer("0", datetime.now(UTC))
    loaded = recommender.cache.get()
    for engine in set(loaded.engines.values()) if loaded else ():
        engine.prepare()
    return recommender


def _time_lists(recommender: Recommender, first: int) -> float:
    """Return the seconds of the answers to users from ``first`` on, whose records are cached."""
    now, users = datetime.now(UTC), [str((first + number) % USERS) for number in range(LISTS)]
    for user in users:
        recommender.answer(user, now)
    started = time.perf_counter()
    for user in users:
        recommender.answer(user, now)
    return time.perf_counter() - started


@benchmark("interleaved_cost")
def interleaved_cost() -> Iterator[BenchmarkResult]:
    """Answer the same users in turn from one model and from an interleaving of two; record nothing of the network."""
    with TemporaryDirectory() as directory:
        store = FileStore(Path(directory))
        versions = [
            write_artifact(store, random_model(USERS, FACTORS, seed=seed), trained_through=datetime.now(UTC))
            for seed in (1, 2)
        ]
        promote(store, versions[0], author="benchmark")
        plain = _load(store)
        arms = {"control": "", "new": versions[1]}
        start(store, parse_declaration("draft", {"kind": "interleaving", "arms": arms, "ladder": [0.5]}), author="b")
        drafting = _load(store)
        times = [
            (_time_lists(plain, number * LISTS), _time_lists(drafting, number * LISTS)) for number in range(ROUNDS)
        ]
    ratios = [drafted / alone for alone, drafted in times]
    low, median, high = statistics.quantiles(ratios, n=4)
    alone = statistics.median(alone for alone, _ in times) / LISTS * 1e6
    yield at_most(
        "interleaved_cost",
        median,
        "plain answers",
        2.0,
        interval=(low, high),
        reference=f"{MOVIES:,} movies, rank {FACTORS}: a plain answer takes {alone:,.0f} us",
    )
