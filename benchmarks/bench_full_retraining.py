"""Complete retraining at full size, from snapshot to release."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.full_retraining import Size, measure_retraining
from benchmarks.registry import BenchmarkResult, at_most, benchmark

_FULL = Size(users=1_000_000, movies=27_000, ratings=20_000_000, watch_sessions=3_000_000)


@benchmark("retrain_full_min", "retrain_full_gb", full=True)
def retrain_full() -> Iterator[BenchmarkResult]:
    """Measure 1,000,000 users, 27,000 movies, about 20,000,000 ratings and 3,000,000 watch sessions."""
    result = measure_retraining(_FULL)
    steps = {name.split(".")[1] for name in result.metrics if name.startswith("step.")}
    by_time, by_memory = (
        ", ".join(f"{name} {result.metrics[f'step.{name}.{kind}'] / divisor:.1f}" for name in sorted(steps))
        for kind, divisor in (("seconds", 60), ("peak_mb", 1000))
    )
    cpu = sum(result.metrics[f"step.{name}.cpu_seconds"] for name in steps) / 60
    yield at_most(
        "retrain_full_min", result.minutes, "min", 30, reference=f"{result.outcome}; {cpu:.1f} CPU min; {by_time}"
    )
    yield at_most("retrain_full_gb", result.gb, "GB", 8, reference=f"peak of the steps: {by_memory}")
