"""Interleaved lists: an answer drafted from two models against a plain one, on a catalog of 27,000 movies."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.registry import BenchmarkResult, at_most, benchmark
from benchmarks.serving import MOVIES, Instance, load_instance, random_model, run_recommend, store
from marquee.experiments.declaration import parse_declaration
from marquee.experiments.lifecycle import start
from marquee.registry.artifact import write_artifact
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.rollout import promote

USERS, FACTORS, ROUNDS, ROUND_S, CONNECTIONS = 1_000, 128, 11, 0.5, 4


def _store_interleaving(root: Path) -> FileStore:
    """Return a store whose release interleaves two models for all users."""
    objects = FileStore(root)
    time = datetime(2026, 1, 1, tzinfo=UTC)
    versions = [write_artifact(objects, random_model(USERS, FACTORS, seed=n), trained_through=time) for n in (1, 2)]
    promote(objects, versions[0], author="benchmark")
    fields = {"kind": "interleaving", "arms": {"control": "", "new": versions[1]}, "ladder": [0.5]}
    start(objects, parse_declaration("draft", fields), author="benchmark")
    return objects


def _measure_us(instance: Instance) -> float:
    """Return the processor time of a request, HTTP included."""
    result = load_instance(
        instance, lambda number: f"/recommend/{number % USERS}", connections=CONNECTIONS, seconds=ROUND_S
    )
    assert not result.failed
    return result.processor_us


@benchmark("interleaved_cost")
def interleaved_cost() -> Iterator[BenchmarkResult]:
    """Load a function with one model and a function that interleaves two, in turn, in short rounds."""
    with (
        TemporaryDirectory() as directory,
        run_recommend(store(USERS, FACTORS)) as plain,
        run_recommend(_store_interleaving(Path(directory))) as drafting,
    ):
        for instance in (plain, drafting):
            instance.first_answer_ms("/recommend/1")
            _measure_us(instance)
        times = [(_measure_us(plain), _measure_us(drafting)) for _ in range(ROUNDS)]
    low, median, high = statistics.quantiles([drafted / alone for alone, drafted in times], n=4)
    alone, drafted = (statistics.median(column) for column in zip(*times, strict=True))
    reference = f"{MOVIES:,} movies, rank {FACTORS}; processor time of a request {drafted:,.0f} us, plain {alone:,.0f}"
    yield at_most("interleaved_cost", median, "plain answers", 2.0, interval=(low, high), reference=reference)
