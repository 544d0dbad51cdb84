"""Parameters chosen in a retraining, against fixed ones, on planted worlds that differ in what pays."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.fixed_parameters import WORLDS, Comparison, compare
from benchmarks.registry import BenchmarkResult, at_least, benchmark

_NAMES = {"no trends": "tuning_no_trends", "strong trends": "tuning_trends", "sparse users": "tuning_sparse"}


@benchmark(*_NAMES.values(), "tuning_sparse_popularity")
def tuning() -> Iterator[BenchmarkResult]:
    """Measure the NDCG@10 on the newest tenth of three worlds, as a ratio to the best fixed parameters."""
    comparisons = {world: compare(WORLDS[world]) for world in _NAMES}
    for world, comparison in comparisons.items():
        best, configured = comparison.best_fixed.mean(), comparison.configured.mean()
        reference = f"best of 300 fixed ones, selected on this slice: {best:.4f}; params.yaml: {configured:.4f}"
        yield at_least(_NAMES[world], comparison.ratio, "ratio of NDCG@10", 0.98, reference=reference)
    yield _against_popularity(comparisons["sparse users"])


def _against_popularity(comparison: Comparison) -> BenchmarkResult:
    difference = comparison.chosen - comparison.popular
    error = float(1.96 * difference.std() / np.sqrt(len(difference)))
    mean = float(difference.mean())
    reference = f"recent popularity: {comparison.popular.mean():.4f}; interval of 95 %, upper end above 0"
    # Not worse beyond its interval: the upper end is what has the goal.
    return at_least(
        "tuning_sparse_popularity",
        mean + error,
        "NDCG@10",
        0,
        reference=reference,
        interval=(mean - error, mean + error),
    )
