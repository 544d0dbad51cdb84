"""The registry of benchmarks, and the result that each of them yields."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Required, TypedDict, Unpack

import msgspec


class BenchmarkResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One measured figure, its goal and its reference.

    ``ratio`` is the value divided by the reference's own value. ``low`` and ``high`` are the quartiles of paired rounds
    or the smallest and largest repetition, as ``reference`` states. ``goal`` is a comparison, such as ``<= 1.5``, and
    ``holds`` is its outcome. ``measured`` is the date (ISO 8601) of a result that is older than the file it is in.
    """

    name: str
    value: float
    unit: str
    reference: str
    ratio: float | None = None
    goal: str
    holds: bool
    low: float | None = None
    high: float | None = None
    measured: str = ""


Measure = Callable[[], Iterable[BenchmarkResult]]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A function that yields one result for each of ``names``.

    ``full`` marks a benchmark of more than three minutes, which runs in a full run only.
    """

    names: tuple[str, ...]
    measure: Measure
    full: bool = False


BENCHMARKS: list[Benchmark] = []


def benchmark(*names: str, full: bool = False) -> Callable[[Measure], Measure]:
    """Register a function that yields a :class:`BenchmarkResult` for each of ``names``.

    Raises ``ValueError`` for a name that is taken.
    """

    def register(measure: Measure) -> Measure:
        taken = {name for known in BENCHMARKS for name in known.names} & set(names)
        if taken:
            raise ValueError(f"two benchmarks are named {', '.join(sorted(taken))}; give one another name")
        BENCHMARKS.append(Benchmark(names, measure, full))
        return measure

    return register


def is_full_run() -> bool:
    """Return True under ``make bench FULL=1``: run long benchmarks and use the larger amounts of data."""
    return bool(os.environ.get("FULL"))


class ResultReference(TypedDict, total=False):
    """The reference of a value: in words, its own value, and the range of the value."""

    reference: Required[str]
    reference_value: float | None
    interval: tuple[float, float] | None


def at_most(name: str, value: float, unit: str, goal: float, **compared: Unpack[ResultReference]) -> BenchmarkResult:
    """Return a result that holds if ``value <= goal``."""
    return _result(name, value, unit, f"<= {goal:g}", value <= goal, **compared)


def at_least(name: str, value: float, unit: str, goal: float, **compared: Unpack[ResultReference]) -> BenchmarkResult:
    """Return a result that holds if ``value >= goal``."""
    return _result(name, value, unit, f">= {goal:g}", value >= goal, **compared)


def _result(
    name: str,
    value: float,
    unit: str,
    goal: str,
    holds: bool,
    *,
    reference: str,
    reference_value: float | None = None,
    interval: tuple[float, float] | None = None,
) -> BenchmarkResult:
    # NumPy's numbers cannot be written as JSON.
    low, high = map(float, interval) if interval else (None, None)
    ratio = float(value / reference_value) if reference_value else None
    return BenchmarkResult(
        name=name, value=float(value), unit=unit, reference=reference, ratio=ratio, goal=goal, holds=bool(holds),
        low=low, high=high,
    )  # fmt: skip
