"""Serving: one answer against the memory it must read, a warm and a cold instance against an empty function."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import fields, replace
from datetime import UTC, datetime

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.load import Load, load
from benchmarks.registry import Result, at_least, at_most, benchmark
from benchmarks.serving import FILMS, Instance, hello, made_model, recommend, store
from marquee.artifacts.artifact import write_artifact
from marquee.artifacts.file import FileStore
from marquee.artifacts.items import read_items
from marquee.artifacts.object_store import ObjectStore
from marquee.artifacts.promotion import promote
from marquee.artifacts.users import UserSide
from marquee.recommend.cache import ReleaseCache
from marquee.recommend.engine import Engine
from marquee.recommend.outside import Outside
from marquee.recommend.service import Recommender

USERS = 1_000
COPIES_MB = 160
"""The films' vectors lie in memory so many times over that no cache holds them: memory is what is read."""

ROUNDS, ROUND_S, CONNECTIONS = 7, 1.0, 8
STARTS = 12
SWAPS, FULL_SIZE = 100, 1_000_000


def _rounds_us(calls: list[Callable[[], object]], rounds: int) -> Iterator[list[float]]:
    """Each call timed in turn, round by round, so that a neighbour's noise falls on all alike."""
    for _ in range(rounds):
        took = []
        for call in calls:
            started = time.perf_counter()
            call()
            took.append((time.perf_counter() - started) * 1e6)
        yield took


class _Walk:
    """Answers of many engines in turn, each with films' vectors of its own, and plain readings of the same vectors."""

    def __init__(self, factors: int) -> None:
        objects = store(USERS, factors)
        copies = max(1, COPIES_MB * 1_000_000 // (FILMS * factors * 4))
        self.recommenders = [_recommender(objects) for _ in range(copies)]
        self.vectors = [_engine(r).side.rank_items for r in self.recommenders]
        self.now = datetime.now(UTC)

    def ratios(self) -> tuple[float, float, float]:
        """The median answer and the median of the fastest reading of its vectors, us; and their ratio."""
        calls = [
            self._answers,
            lambda: [v @ self._ones for v in self.vectors],
        ]
        calls.append(lambda: [v.sum() for v in self.vectors])
        self._answers()
        rounds = list(_rounds_us(calls, 21))
        answer, *readings = (
            statistics.median(took) / len(self.vectors) for took in zip(*rounds, strict=True)
        )
        return answer, min(readings), answer / min(readings)

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
            f.name: np.array(getattr(side, f.name))
            for f in fields(side)
            if isinstance(getattr(side, f.name), np.ndarray)
        }
        return Engine(replace(side, **own), UserSide(objects, side.manifest), maps_users=True)

    cache = ReleaseCache(objects, 1e6, load=copied)
    recommender = Recommender(cache, objects=Outside("object store", deadline_ms=1_000))
    assert cache.serving(60) is not None
    return recommender


def _engine(recommender: Recommender) -> Engine:
    serving = recommender.cache.serving()
    assert serving is not None
    return serving.engines["control"]


def _answer_limit(factors: int) -> Result:
    answer, reading, ratio = _Walk(factors).ratios()
    reference = (
        f"an answer of {answer:.0f} us / reading the {FILMS:,} x {factors} ranking vectors once from memory, "
        f"{reading:.0f} us (the faster of numpy's product and sum); one thread"
    )
    return at_most(f"answer_limit_ratio_{factors}", ratio, "ratio", 1.6, reference=reference)


@benchmark("answer_limit_ratio_32", "answer_limit_ratio_100")
def answer_limit() -> Iterable[Result]:
    """The whole of an answer but HTTP: arm, user's row, both heads, top 20, films, propensities."""
    with threadpool_limits(1):  # As the function has it.
        yield _answer_limit(32)
        yield _answer_limit(100)


@benchmark("warm_rps_ratio", "warm_p99_ratio")
def warm() -> Iterable[Result]:
    """Both instances run throughout; short rounds in turn, and the median of the rounds' ratios."""
    with hello() as empty, recommend(store(USERS, 32)) as full:
        empty.first_answer_ms("/")
        full.first_answer_ms("/recommend/1")
        rounds = [(_loaded(empty, lambda _: "/"), _loaded(full, _users_path)) for _ in range(ROUNDS + 1)][1:]
    assert not any(load.failed for pair in rounds for load in pair)
    hellos, answers = zip(*rounds, strict=True)
    # The best round of each: what a neighbour takes away says nothing of either.
    rps, of = (max(load.per_second for load in loads) for loads in (answers, hellos))
    p99, p99_of = (min(load.percentile(0.99) for load in loads) for loads in (answers, hellos))
    said = (
        f"{rps:.0f} answers/s of {FILMS:,} x 32 / {of:.0f} of hello-world, {CONNECTIONS} connections, "
        "one worker of 8 threads; the best of the rounds of each"
    )
    yield at_least("warm_rps_ratio", rps / of, "ratio", 0.7, reference=said)
    said = f"p99 of {p99:.1f} ms / {p99_of:.1f} ms of hello-world, same load and rounds"
    yield at_most("warm_p99_ratio", p99 / p99_of, "ratio", 3.0, reference=said)


def _users_path(number: int) -> str:
    return f"/recommend/{number * 7919 % USERS}"


def _loaded(instance: Instance, path: Callable[[int], str]) -> Load:
    return load(instance.port, path, connections=CONNECTIONS, seconds=ROUND_S)


@benchmark("cold_start_ratio", "cold_start_users_ratio", "rss_1m_users_mb")
def cold() -> Iterable[Result]:
    """Starts in turn: hello-world, a thousand users, a million users."""
    small, large = store(USERS, 32), store(FULL_SIZE, 32)
    starts: list[Callable[[], tuple[float, float]]] = [
        lambda: _first_ms(hello(), "/"),
        lambda: _first_ms(recommend(small), "/recommend/1"),
        lambda: _first_ms(recommend(large), "/recommend/1"),
    ]
    os.sync()  # What was written for this goes to the disk before anything is timed.
    took: list[list[tuple[float, float]]] = [[], [], []]
    for number in range(3 * (STARTS + 1)):  # Nobody always comes after the same one.
        which = (number + number // 3) % 3
        took[which].append(starts[which]())
    empty, few, many = ([min(column) for column in zip(*pairs[1:], strict=True)] for pairs in took)
    said = (
        f"{few[0]:.0f} ms to the first recommendation of {FILMS:,} x 32 / {empty[0]:.0f} ms to the first "
        f"hello-world, the best of {STARTS} starts of each; processor time {few[1]:.0f} / {empty[1]:.0f} ms"
    )
    yield at_most("cold_start_ratio", few[0] / empty[0], "ratio", 1.35, reference=said)
    said = (
        f"{many[0]:.0f} ms with {FULL_SIZE:,} users / {few[0]:.0f} ms with {USERS:,}; likewise; "
        f"processor time {many[1]:.0f} / {few[1]:.0f} ms"
    )
    yield at_most("cold_start_users_ratio", many[0] / few[0], "ratio", 1.05, reference=said)
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
        f"{FULL_SIZE:,} users x {FILMS:,} films x 32"
    )
    yield at_most("rss_1m_users_mb", mb, "MB", 200, reference=said)


def _first_ms(starting: AbstractContextManager[Instance], path: str) -> tuple[float, float]:
    with starting as instance:
        return instance.first_answer_ms(path), instance.processor_ms()


@benchmark("swap_failures")
def swaps() -> Iterable[Result]:
    """A hundred releases, each of another model, while the instance is asked without a pause."""
    objects = store(10, 32)
    models = [made_model(10, 32, seed=seed) for seed in range(2, 6)]
    versions = [write_artifact(objects, m, trained_through=datetime(2026, 1, 2, tzinfo=UTC)) for m in models]
    with recommend(objects, release_refresh_s="0.05") as instance:
        instance.first_answer_ms("/recommend/1")
        asked: list[Load] = []
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
