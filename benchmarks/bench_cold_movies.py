"""Movies without ratings: ranking by metadata against random, genre mean and popularity, and rating error."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.cold_movies import ColdMovies, measure
from benchmarks.movielens import PARAMS
from benchmarks.registry import BenchmarkResult, at_least, at_most, benchmark
from marquee.evaluation.bootstrap import ratio_of_sums

_OTHERS = ("random", "genre mean", "without content", "popularity")


@benchmark("cold_ndcg10", "cold_recall20", "cold_ndcg10_gain", "cold_recall20_gain", "cold_rmse")
def cold_movies() -> Iterator[BenchmarkResult]:
    """Measure movies held out entirely; the gain is over the genre mean, paired by user."""
    found = measure()
    for metric, name in (("ndcg", "cold_ndcg10"), ("recall", "cold_recall20")):
        unit = "NDCG@10" if metric == "ndcg" else "recall@20"
        value, low, high = _mean(found.ranking["content"][metric])
        others = "; ".join(f"{other} {_describe(found, other, metric)}" for other in _OTHERS)
        reference = f"of {found.movies} held-out movies; {others} (popularity is known afterwards only)"
        yield at_least(name, value, unit, 0.15, reference=reference, interval=(low, high))
        gain, low, high = _mean(found.ranking["content"][metric] - found.ranking["genre mean"][metric])
        reference = f"content less genre mean, paired; data {found.data[:8]}, seed {PARAMS.seed}"
        yield at_least(f"{name}_gain", gain, unit, 0.0, reference=reference, interval=(low, high))
    rmse, without = (float(np.sqrt(found.squared_errors[name].mean())) for name in ("content", "without"))
    yield at_most("cold_rmse", rmse, "RMSE", without, reference="without content", reference_value=without)


def _mean(values: np.ndarray) -> tuple[float, float, float]:
    metric = ratio_of_sums(values, np.ones(len(values)), PARAMS.evaluation, PARAMS.seed)
    assert metric.low is not None
    assert metric.high is not None
    return metric.value, metric.low, metric.high


def _describe(found: ColdMovies, name: str, metric: str) -> str:
    value, low, high = _mean(found.ranking[name][metric])
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"
