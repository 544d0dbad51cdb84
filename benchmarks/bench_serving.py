"""Serving: one answer against the memory it must read, a warm and a cold instance against an empty function."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import NamedTuple, TypeAlias

import msgspec
import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.load import LoadResult, load
from benchmarks.registry import BenchmarkResult, at_least, at_most, benchmark
from benchmarks.serving import MOVIES, Instance, hello, made_model, recommend, store
from marquee.registry.artifact import write_artifact
from marquee.registry.item_store import read_items
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.rollout import promote
from marquee.registry.user_store import UserStore
from marquee.serving.deadline import DeadlineExecutor
from marquee.serving.engine import Engine
from marquee.serving.recommender import Recommender
from marquee.serving.release_cache import ReleaseCache

USERS = 1_000
COPIES_MB = 200
"""The items' vectors lie in memory so many times over that no cache holds them, nor shortlists of half the size."""

ROUNDS, ROUND_S, CONNECTIONS = 15, 0.5, 8
STARTS, STARTS_BY_USERS = 30, 40
SWAPS, FULL_SIZE = 100, 1_000_000

Starting: TypeAlias = "Callable[[], AbstractContextManager[Instance]]"
Columns: TypeAlias = "list[tuple[float, ...]]"
"""Of each round the milliseconds of a start by the clock; and by processor time."""


def _rounds_us(calls: list[Callable[[], object]], rounds: int) -> Iterator[list[float]]:
    """Each call timed in turn, round by round, so that a neighbour's noise falls on all alike."""
    for _ in range(rounds):
        took = []
        for call in calls:
            started = time.perf_counter()
            call()
            took.append((time.perf_counter() - started) * 1e6)
        yield took


class Paired(NamedTuple):
    """The ratios of things measured in the same round, so that a neighbour's noise is in both: their quartiles.

    The median is the result. A best round says more of luck, and medians of each side may be of different rounds.
    """

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float], references: Iterable[float]) -> Paired:
        ratios = [value / reference for value, reference in zip(values, references, strict=True)]
        return cls(*statistics.quantiles(ratios, n=4))

    def __str__(self) -> str:
        return f"median of the rounds' ratios, quartiles {self.low:.2f} and {self.high:.2f}"


class _Walk:
    """Answers of many engines in turn, each with items' vectors of its own, and plain readings of the same vectors."""

    def __init__(self, factors: int) -> None:
        objects = store(USERS, factors)
        copies = max(1, COPIES_MB * 1_000_000 // (MOVIES * factors * 4))
        self.recommenders = [_recommender(objects) for _ in range(copies)]
        self.vectors = [_engine(r).side.rank_items for r in self.recommenders]
        self.now = datetime.now(UTC)

    def ratio(self) -> tuple[Paired, float, float]:
        """Answers beside the fastest reading of their vectors in the same round; and both medians, us."""
        calls: list[Callable[[], object]] = [
            self._answers,
            lambda: [v @ self._ones for v in self.vectors],
            lambda: [v.sum() for v in self.vectors],
            lambda: [v.max() for v in self.vectors],
        ]
        self._answers()
        rounds = [[took / len(self.vectors) for took in each] for each in _rounds_us(calls, 21)]
        answers, readings = [r[0] for r in rounds], [min(r[1:]) for r in rounds]
        return Paired.of(answers, readings), statistics.median(answers), statistics.median(readings)

    @property
    def _ones(self) -> np.ndarray:
        return np.ones(self.vectors[0].shape[1], np.float32)

    def _answers(self) -> None:
        for number, recommender in enumerate(self.recommenders):
            recommender.answer(str(number), self.now)


def _recommender(objects: FileStore) -> Recommender:
    """As assembled for a function without a database, with a private copy of what it would map."""

    def copied(objects: ObjectStore, version: str) -> Engine:
        side = read_items(objects, version)
        own = {
            name: np.array(value)
            for name, value in msgspec.structs.asdict(side).items()
            if isinstance(value, np.ndarray)
        }
        users = UserStore(objects, side.manifest)
        engine = Engine(msgspec.structs.replace(side, **own), users, maps_users=True)
        engine.prepare()
        return engine

    cache = ReleaseCache(objects, 1e6, load=copied)
    recommender = Recommender(cache, objects=DeadlineExecutor("object store", deadline_ms=1_000))
    assert cache.serving(60) is not None
    return recommender


def _engine(recommender: Recommender) -> Engine:
    serving = recommender.cache.serving()
    assert serving is not None
    return serving.engines["control"]


def _answer_limit(factors: int) -> BenchmarkResult:
    ratio, answer, reading = _Walk(factors).ratio()
    reference = (
        f"an answer of {answer:.0f} us / reading the {MOVIES:,} x {factors} ranking vectors once from memory, "
        f"{reading:.0f} us (the fastest of numpy's product, sum and maximum); one thread; {ratio}"
    )
    return at_most(f"answer_limit_ratio_{factors}", ratio.median, "ratio", 1.6, reference=reference)


@benchmark("answer_limit_ratio_32", "answer_limit_ratio_100")
def answer_limit() -> Iterable[BenchmarkResult]:
    """The whole of an answer but HTTP: arm, user's row, both heads, top 20, items, propensities."""
    with threadpool_limits(1):  # As the function has it.
        yield _answer_limit(32)
        yield _answer_limit(100)


@benchmark("warm_rps_ratio", "warm_p99_ratio")
def warm() -> Iterable[BenchmarkResult]:
    """Both instances run throughout; short rounds in turn."""
    with hello() as empty, recommend(store(USERS, 32)) as full:
        empty.first_answer_ms("/")
        full.first_answer_ms("/recommend/1")
        rounds = [(_loaded(empty, lambda _: "/"), _loaded(full, _users_path)) for _ in range(ROUNDS + 1)][1:]
    hellos, answers = zip(*rounds, strict=True)
    assert not any(load.failed for load in (*hellos, *answers))
    rps = Paired.of((a.per_second for a in answers), (h.per_second for h in hellos))
    cpu, of_cpu = (statistics.median(load.processor_us for load in loads) for loads in (answers, hellos))
    said = (
        f"{_median(answers):.0f} answers/s of {MOVIES:,} x 32 / {_median(hellos):.0f} of hello-world, {CONNECTIONS} "
        f"connections, one worker of 8 threads; {rps}; processor time {cpu:.0f} / {of_cpu:.0f} us a request"
    )
    yield at_least("warm_rps_ratio", rps.median, "ratio", 0.7, reference=said)
    p99 = Paired.of((a.percentile(0.99) for a in answers), (h.percentile(0.99) for h in hellos))
    said = f"p99 / that of hello-world, same load and rounds; {p99}"
    yield at_most("warm_p99_ratio", p99.median, "ratio", 3.0, reference=said)


def _median(loads: Iterable[LoadResult]) -> float:
    return statistics.median(load.per_second for load in loads)


def _users_path(number: int) -> str:
    return f"/recommend/{number * 7919 % USERS}"


def _loaded(instance: Instance, path: Callable[[int], str]) -> LoadResult:
    before = instance.processor_ms()
    done = load(instance.port, path, connections=CONNECTIONS, seconds=ROUND_S)
    done.processor_us = (instance.processor_ms() - before) * 1000 / len(done.ms)
    return done


@benchmark("cold_start_ratio", "cold_start_users_ratio", "rss_1m_users_mb")
def cold() -> Iterable[BenchmarkResult]:
    """Starts in turn: a thousand users beside hello-world, and beside a million users."""
    small, large = store(USERS, 32), store(FULL_SIZE, 32)
    os.sync()  # What was written for this goes to the disk before anything is timed.
    few, empty = _starts_in_turn(lambda: recommend(small), hello, STARTS)
    yield at_most(
        "cold_start_ratio",
        Paired.of(few[0], empty[0]).median,
        "ratio",
        1.35,
        reference=f"ms to the first recommendation of {MOVIES:,} x 32 / to the first hello-world: {_starts(few, empty)}",
    )
    many, few = _starts_in_turn(lambda: recommend(large), lambda: recommend(small), STARTS_BY_USERS)
    yield at_most(
        "cold_start_users_ratio",
        Paired.of(many[0], few[0]).median,
        "ratio",
        1.05,
        reference=f"ms with {FULL_SIZE:,} users / with {USERS:,}: {_starts(many, few)}",
    )
    with recommend(large) as instance:
        instance.first_answer_ms("/recommend/1")
        load(
            instance.port,
            lambda n: f"/recommend/{n * 7919 % FULL_SIZE}",
            connections=CONNECTIONS,
            seconds=5.0,
        )
        mb = instance.resident_mb()
    said = (
        "memory (PSS) of master and worker, mapped files included, after 5 s of answers to different users; "
        f"{FULL_SIZE:,} users x {MOVIES:,} items x 32"
    )
    yield at_most("rss_1m_users_mb", mb, "MB", 200, reference=said)


def _starts_in_turn(one: Starting, other: Starting, rounds: int) -> tuple[Columns, Columns]:
    """Each round starts one, the other, the other, one: what changes steadily meanwhile falls on both alike."""
    took: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
    for _ in range(rounds + 1):
        first, second, third, last = map(_first_ms, (one, other, other, one))
        took[0].append((first[0] + last[0], first[1] + last[1]))
        took[1].append((second[0] + third[0], second[1] + third[1]))
    one_took, other_took = (
        [tuple(ms / 2 for ms in column) for column in zip(*t[1:], strict=True)] for t in took
    )
    return one_took, other_took


def _first_ms(starting: Starting, path: str = "/recommend/1") -> tuple[float, float]:
    with starting() as instance:
        return instance.first_answer_ms(path), instance.processor_ms()


def _starts(values: Columns, references: Columns) -> str:
    (wall, cpu), (wall_of, cpu_of) = values, references
    clock, processor = Paired.of(wall, wall_of), Paired.of(cpu, cpu_of)
    return (
        f"{statistics.median(wall):.0f} / {statistics.median(wall_of):.0f}, {len(wall)} rounds of two starts of each, "
        f"{clock}; by processor time {statistics.median(cpu):.0f} / {statistics.median(cpu_of):.0f} ms, "
        f"{processor.median:.2f}"
    )


@benchmark("swap_failures")
def swaps() -> Iterable[BenchmarkResult]:
    """A hundred releases, each of another model, while the instance is asked without a pause."""
    objects = store(10, 32)
    models = [made_model(10, 32, seed=seed) for seed in range(2, 6)]
    versions = [write_artifact(objects, m, trained_through=datetime(2026, 1, 2, tzinfo=UTC)) for m in models]
    with recommend(objects, release_refresh_s="0.05") as instance:
        instance.first_answer_ms("/recommend/1")
        asked: list[LoadResult] = []
        asking = threading.Thread(
            target=lambda: asked.append(load(instance.port, _users_path, connections=8, seconds=SWAPS * 0.12))
        )
        asking.start()
        seen = set()
        for number in range(SWAPS):
            seen.add(promote(objects, versions[number % len(versions)], author="benchmark").number)
            time.sleep(0.11)
        asking.join()
    said = f"answers other than 200 among {len(asked[0].ms):,} while {len(seen)} releases followed each other"
    yield at_most("swap_failures", asked[0].failed, "answers", 0, reference=said)
