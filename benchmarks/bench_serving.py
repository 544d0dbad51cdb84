"""Serving: an answer against reading its vectors, and warm and cold instances against an empty function."""

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
from benchmarks.serving import MOVIES, Instance, load_instance, random_model, run_hello_world, run_recommend, store
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
# Enough copies of the item vectors that no processor cache holds them or the quantized vectors of half the size.
COPIES_MB = 200

ROUNDS, ROUND_S, CONNECTIONS = 15, 0.5, 8
COLD_ROUNDS, USER_COUNT_ROUNDS = 60, 40
SWAPS, FULL_SIZE = 100, 1_000_000

StartInstance: TypeAlias = "Callable[[], AbstractContextManager[Instance]]"


class StartTimes(NamedTuple):
    """Milliseconds until the first answer, by round: wall time and processor time."""

    wall: list[float]
    cpu: list[float]


def _time_rounds_us(calls: list[Callable[[], object]], rounds: int) -> Iterator[list[float]]:
    """Time each call once per round, so that other load affects all of them alike."""
    for _ in range(rounds):
        times = []
        for call in calls:
            started = time.perf_counter()
            call()
            times.append((time.perf_counter() - started) * 1e6)
        yield times


class RatioQuartiles(NamedTuple):
    """Quartiles of the ratios of two quantities measured in the same rounds; the median is the result."""

    low: float
    median: float
    high: float

    @property
    def interval(self) -> tuple[float, float]:
        """The first and the third quartile."""
        return self.low, self.high


def _compare_rounds(values: Iterable[float], references: Iterable[float]) -> RatioQuartiles:
    ratios = [value / reference for value, reference in zip(values, references, strict=True)]
    return RatioQuartiles(*statistics.quantiles(ratios, n=4))


class _UncachedEngines:
    """Engines with item vectors of their own, so that each answer reads its vectors from memory."""

    def __init__(self, factors: int) -> None:
        objects = store(USERS, factors)
        copies = max(1, COPIES_MB * 1_000_000 // (MOVIES * factors * 4))
        self.recommenders = [_recommender(objects) for _ in range(copies)]
        self.vectors = [_engine(r).item_factors.rank_items for r in self.recommenders]
        self.now = datetime.now(UTC)

    def measure(self) -> tuple[RatioQuartiles, float, float]:
        """Compare answers with the fastest read of their vectors; return the ratio and both medians in us."""
        calls: list[Callable[[], object]] = [
            self._answer_once_each,
            lambda: [v @ self._ones for v in self.vectors],
            lambda: [v.sum() for v in self.vectors],
            lambda: [v.max() for v in self.vectors],
        ]
        self._answer_once_each()
        rounds = [[us / len(self.vectors) for us in times] for times in _time_rounds_us(calls, 21)]
        answers, reads = [times[0] for times in rounds], [min(times[1:]) for times in rounds]
        return _compare_rounds(answers, reads), statistics.median(answers), statistics.median(reads)

    @property
    def _ones(self) -> np.ndarray:
        return np.ones(self.vectors[0].shape[1], np.float32)

    def _answer_once_each(self) -> None:
        for number, recommender in enumerate(self.recommenders):
            recommender.answer(str(number), self.now)


def _recommender(objects: FileStore) -> Recommender:
    """Return a recommender without a database that copies the arrays it would otherwise map."""

    def load_copy(objects: ObjectStore, version: str) -> Engine:
        side = read_items(objects, version)
        copies = {
            name: np.array(value)
            for name, value in msgspec.structs.asdict(side).items()
            if isinstance(value, np.ndarray)
        }
        users = UserStore(objects, side.manifest)
        engine = Engine(msgspec.structs.replace(side, **copies), users, maps_users=True)
        engine.prepare()
        return engine

    cache = ReleaseCache(objects, 1e6, load=load_copy)
    recommender = Recommender(cache, objects=DeadlineExecutor("object store", deadline_ms=1_000))
    assert cache.get(60) is not None
    return recommender


def _engine(recommender: Recommender) -> Engine:
    serving = recommender.cache.get()
    assert serving is not None
    return serving.engines["control"]


def _answer_limit(factors: int) -> BenchmarkResult:
    ratio, answer, read = _UncachedEngines(factors).measure()
    vectors = f"the {MOVIES:,} x {factors} ranking vectors"
    reference = f"{answer:.0f} us an answer; {read:.0f} us to read {vectors} once with numpy"
    name = f"answer_limit_ratio_{factors}"
    return at_most(name, ratio.median, "ratio", 1.6, reference=reference, interval=ratio.interval)


@benchmark("answer_limit_ratio_32", "answer_limit_ratio_100")
def answer_limit() -> Iterable[BenchmarkResult]:
    """Measure an answer without HTTP: arm, user row, both models, top 20 and propensities."""
    # The function has one BLAS thread, too.
    with threadpool_limits(1):
        yield _answer_limit(32)
        yield _answer_limit(100)


@benchmark("warm_rps_ratio", "warm_p99_ratio")
def warm() -> Iterable[BenchmarkResult]:
    """Load both running instances in turn, in short rounds."""
    with run_hello_world() as empty, run_recommend(store(USERS, 32)) as full:
        empty.first_answer_ms("/")
        full.first_answer_ms("/recommend/1")
        rounds = [(_load(empty, lambda _: "/"), _load(full, _user_path)) for _ in range(ROUNDS + 1)][1:]
    hellos, answers = zip(*rounds, strict=True)
    assert not any(result.failed for result in (*hellos, *answers))
    rps = _compare_rounds((a.per_second for a in answers), (h.per_second for h in hellos))
    cpu, hello_cpu = (statistics.median(load.processor_us for load in loads) for loads in (answers, hellos))
    reference = (
        f"hello-world {_median_rps(hellos):.0f} requests/s, recommend {_median_rps(answers):.0f}; "
        f"CPU {hello_cpu:.0f} and {cpu:.0f} us a request"
    )
    yield at_least("warm_rps_ratio", rps.median, "ratio", 0.55, reference=reference, interval=rps.interval)
    p99 = _compare_rounds((a.percentile(0.99) for a in answers), (h.percentile(0.99) for h in hellos))
    reference = "p99 of hello-world in the same rounds"
    yield at_most("warm_p99_ratio", p99.median, "ratio", 3.0, reference=reference, interval=p99.interval)


def _median_rps(results: Iterable[LoadResult]) -> float:
    return statistics.median(result.per_second for result in results)


def _user_path(number: int) -> str:
    return f"/recommend/{number * 7919 % USERS}"


def _load(instance: Instance, path: Callable[[int], str]) -> LoadResult:
    return load_instance(instance, path, connections=CONNECTIONS, seconds=ROUND_S)


@benchmark("cold_start_ratio")
def cold_start() -> Iterable[BenchmarkResult]:
    """Start `recommend` with a thousand users and hello-world in turn."""
    objects = store(USERS, 32)
    os.sync()  # Write the model to disk before any start is timed.
    recommend, hello = time_starts(lambda: run_recommend(objects), run_hello_world, COLD_ROUNDS)
    yield start_ratio("cold_start_ratio", 1.5, recommend, hello, "hello-world")


@benchmark("cold_start_users_ratio", "rss_1m_users_mb")
def user_count() -> Iterable[BenchmarkResult]:
    """Start `recommend` with a million and with a thousand users in turn; then load the larger instance."""
    small, large = store(USERS, 32), store(FULL_SIZE, 32)
    os.sync()
    many, few = time_starts(lambda: run_recommend(large), lambda: run_recommend(small), USER_COUNT_ROUNDS)
    yield start_ratio("cold_start_users_ratio", 1.05, many, few, f"{USERS:,} users")
    with run_recommend(large) as instance:
        instance.first_answer_ms("/recommend/1")
        load(instance.port, _any_user_path, connections=CONNECTIONS, seconds=5.0)
        mb = instance.resident_mb()
    reference = f"PSS of both processes after 5 s of load; {FULL_SIZE:,} users x {MOVIES:,} movies x 32 factors"
    yield at_most("rss_1m_users_mb", mb, "MB", 200, reference=reference)


def _any_user_path(number: int) -> str:
    return f"/recommend/{number * 7919 % FULL_SIZE}"


def time_starts(
    start_one: StartInstance, start_other: StartInstance, rounds: int, path: str = "/recommend/1"
) -> tuple[StartTimes, StartTimes]:
    """Start one, the other, the other, one in each round, so that a steady drift affects both alike."""
    one, other = StartTimes([], []), StartTimes([], [])
    for number in range(rounds + 1):
        starts = (start_one, start_other, start_other, start_one)
        first, second, third, last = (_first_ms(start, path) for start in starts)
        if number == 0:  # The first round compiles bytecode.
            continue
        for times, pair in ((one, (first, last)), (other, (second, third))):
            times.wall.append(statistics.mean(wall for wall, _ in pair))
            times.cpu.append(statistics.mean(cpu for _, cpu in pair))
    return one, other


def _first_ms(start: StartInstance, path: str) -> tuple[float, float]:
    with start() as instance:
        return instance.first_answer_ms(path), instance.processor_ms()


def start_ratio(
    name: str, goal: float, times: StartTimes, reference_times: StartTimes, reference_name: str
) -> BenchmarkResult:
    wall, cpu = (_compare_rounds(*pair) for pair in zip(times, reference_times, strict=True))
    reference = (
        f"{reference_name}: {statistics.median(reference_times.wall):.0f} ms, "
        f"this {statistics.median(times.wall):.0f} ms; ratio of CPU time {cpu.median:.2f}"
    )
    return at_most(name, wall.median, "ratio", goal, reference=reference, interval=wall.interval)


@benchmark("swap_failures")
def swaps() -> Iterable[BenchmarkResult]:
    """Publish a hundred releases of other models while the instance is under load."""
    objects = store(10, 32)
    models = [random_model(10, 32, seed=seed) for seed in range(2, 6)]
    versions = [write_artifact(objects, m, trained_through=datetime(2026, 1, 2, tzinfo=UTC)) for m in models]
    with run_recommend(objects, release_refresh_s="0.05") as instance:
        instance.first_answer_ms("/recommend/1")
        loads: list[LoadResult] = []
        client = threading.Thread(
            target=lambda: loads.append(load(instance.port, _user_path, connections=CONNECTIONS, seconds=SWAPS * 0.12))
        )
        client.start()
        releases = set()
        for number in range(SWAPS):
            version = versions[number % len(versions)]
            releases.add(promote(objects, version, author="benchmark").number)
            time.sleep(0.11)
        client.join()
    reference = f"answers other than 200 among {len(loads[0].ms):,} during {len(releases)} releases"
    yield at_most("swap_failures", loads[0].failed, "answers", 0, reference=reference)
