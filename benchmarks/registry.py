"""What a benchmark is, and where it says that it exists."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec


class BenchmarkResult(msgspec.Struct, frozen=True):
    """One line of ``build/bench.json``. ``ratio`` is value / reference; ``holds``: whether the goal is reached."""

    name: str
    value: float
    unit: str
    reference: str
    ratio: float | None
    goal: str
    holds: bool


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A function that measures one or more results; ``names`` are those that it yields."""

    names: tuple[str, ...]
    measure: Callable[[], Iterable[BenchmarkResult]]


BENCHMARKS: list[Benchmark] = []


def benchmark(
    *names: str,
) -> Callable[[Callable[[], Iterable[BenchmarkResult]]], Callable[[], Iterable[BenchmarkResult]]]:
    """Register a function that yields a :class:`BenchmarkResult` for each of ``names``."""

    def register(measure: Callable[[], Iterable[BenchmarkResult]]) -> Callable[[], Iterable[BenchmarkResult]]:
        taken = {name for known in BENCHMARKS for name in known.names} & set(names)
        if taken:
            raise ValueError(f"two benchmarks are named {', '.join(sorted(taken))}")
        BENCHMARKS.append(Benchmark(names, measure))
        return measure

    return register


def at_most(
    name: str, value: float, unit: str, goal: float, *, reference: str, of: float | None = None
) -> BenchmarkResult:
    """A result that holds if ``value`` <= ``goal``; ``of``: the reference's own value, for the ratio."""
    return BenchmarkResult(
        name, value, unit, reference, value / of if of else None, f"<= {goal:g}", value <= goal
    )


def at_least(
    name: str, value: float, unit: str, goal: float, *, reference: str, of: float | None = None
) -> BenchmarkResult:
    """A result that holds if ``value`` >= ``goal``."""
    return BenchmarkResult(
        name, value, unit, reference, value / of if of else None, f">= {goal:g}", value >= goal
    )
