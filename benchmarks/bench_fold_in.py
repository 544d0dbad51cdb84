"""A user's vector from 100 ratings at request time, with numpy alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.movielens import PARAMS
from benchmarks.registry import BenchmarkResult, at_most, benchmark
from marquee.scoring.fold_in import FoldIn, Prior

_RATINGS, _ITEMS = 100, 27_000


@benchmark("fold_in_us")
def fold_in_us() -> Iterator[BenchmarkResult]:
    """At the rank of the default trainer's artifact; the best of many, one thread."""
    k = int(PARAMS.trainers["bayesian_svd"]["served_rank"])
    rng = np.random.default_rng(0)
    vectors = rng.normal(0, 0.3, (_ITEMS, k)).astype(np.float32)
    biases = rng.normal(0, 0.3, _ITEMS).astype(np.float32)
    prior = Prior(np.zeros(k + 1), np.eye(k + 1) * 20, 1.4)
    folding = FoldIn(vectors, biases, 3.5, prior)
    items = rng.permutation(_ITEMS)[:_RATINGS].astype(np.uint32)
    ratings = rng.integers(1, 6, _RATINGS).astype(np.float32)
    with threadpool_limits(1, user_api="blas"):
        ours = _best_us(lambda: folding.posterior_mean(items, ratings))
        left, right = np.eye(k + 1) * 3.0, np.ones(k + 1)
        solving = _best_us(lambda: np.linalg.solve(left, right))
    reference = f"numpy.linalg.solve of {k + 1} equations in float64 alone: {solving:.0f} us; {k} factors"
    yield at_most("fold_in_us", ours, "us", 60, reference=reference, reference_value=solving)


def _best_us(run: Callable[[], object]) -> float:
    rounds = []
    for _ in range(50):
        began = time.perf_counter()
        for _ in range(50):
            run()
        rounds.append((time.perf_counter() - began) / 50)
    return min(rounds) * 1e6
