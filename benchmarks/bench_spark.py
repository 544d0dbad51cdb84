"""Memory of the driver of ``engine: spark``, which holds the item side only."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.registry import BenchmarkResult, at_most, benchmark
from benchmarks.spark_driver import MOVIES, RATINGS_PER_USER, measure_driver

_FEW, _MANY = 100_000, 400_000


@benchmark("spark_driver_ratio", full=True)
def spark_driver_ratio() -> Iterator[BenchmarkResult]:
    """Compare the driver's peak memory with 400,000 users and with 100,000: its Python process and its JVM together."""
    few, many = (measure_driver(users) for users in (_FEW, _MANY))
    before, after = (measured.python_mb + measured.jvm_mb for measured in (few, many))
    reference = (
        f"{_FEW:,} users: {before:.0f} MB; {MOVIES:,} movies, {RATINGS_PER_USER} ratings a user; "
        f"Python {few.python_mb:.0f} and {many.python_mb:.0f} MB"
    )
    yield at_most("spark_driver_ratio", after / before, "x", 1.1, reference=reference, reference_value=1.0)
