"""Time to fold in a user with 100 ratings at request time, with drift and implicit feedback, with NumPy alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.movielens import PARAMS
from benchmarks.registry import BenchmarkResult, at_most, benchmark
from marquee.models.user_prior import DRIFT
from marquee.scoring.fold_in import FoldIn, Prior

_RATINGS, _ITEMS = 100, 27_000


@benchmark("fold_in_us")
def fold_in_us() -> Iterator[BenchmarkResult]:
    """Measure at the rank of the default trainer's artifact: the fastest round, one thread."""
    k = int(PARAMS.trainers["bpmf"]["served_rank"])
    rng = np.random.default_rng(0)
    vectors = rng.normal(0, 0.3, (_ITEMS, k)).astype(np.float32)
    biases = rng.normal(0, 0.3, _ITEMS).astype(np.float32)
    implicit = rng.normal(0, 0.02, (_ITEMS, k + 1)).astype(np.float32)
    prior = Prior(np.zeros(k + 1), np.eye(k + 1) * 20, 1.4, DRIFT, implicit)
    fold_in = FoldIn(vectors, biases, 3.5, prior)
    items = rng.permutation(_ITEMS)[:_RATINGS].astype(np.uint32)
    ratings = rng.integers(1, 6, _RATINGS).astype(np.float32)
    with threadpool_limits(1, user_api="blas"):
        fold_in_time = _fastest_us(lambda: fold_in.posterior_mean(items, ratings))
        left, right = np.eye(k + 1) * 3.0, np.ones(k + 1)
        solve_time = _fastest_us(lambda: np.linalg.solve(left, right))
    reference = f"numpy.linalg.solve of {k + 1} equations in float64 alone: {solve_time:.0f} us; {k} factors"
    yield at_most("fold_in_us", fold_in_time, "us", 60, reference=reference, reference_value=solve_time)


def _fastest_us(run: Callable[[], object]) -> float:
    """Return the mean time of a call in the fastest of 50 rounds, in microseconds."""
    rounds = []
    for _ in range(50):
        started = time.perf_counter()
        for _ in range(50):
            run()
        rounds.append((time.perf_counter() - started) / 50)
    return min(rounds) * 1e6
