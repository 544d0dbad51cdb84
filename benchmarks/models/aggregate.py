"""Aggregation of all splits of a protocol: every metric with its interval over users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.models.report_model import AlgorithmResult
from benchmarks.models.split_metrics import Arrays
from marquee.evaluation.bootstrap import EvaluationParams, ratio_of_sums
from marquee.registry.manifest import Metric
from marquee.training.params import Params

Floats = NDArray[np.float64]
# Ranking metrics with one value a user.
USER_METRICS = ("ndcg@10", "ndcg@20", "recall@10", "recall@20", "novelty")
_NORMAL_QUANTILE = 1.959963984540054  # of 97.5 %


@dataclass(frozen=True, slots=True)
class AggregateSettings:
    """Parameters of the bootstrap."""

    evaluation: EvaluationParams
    seed: int

    @classmethod
    def from_params(cls, params: Params) -> AggregateSettings:
        """Return the settings of ``params.yaml``."""
        return cls(params.evaluation, params.seed)

    def ratio(self, sums: Floats, counts: Floats, *, root: bool = False) -> Metric:
        """Return ``sums / counts`` over users [n_users], or its root, with its interval."""
        return ratio_of_sums(sums, counts, self.evaluation, self.seed, root=root)


def aggregate_splits(name: str, parts: Sequence[Arrays], n_items: int, settings: AggregateSettings) -> AlgorithmResult:
    """Return one algorithm over all splits of a protocol. A user in several splits counts as one user."""
    metrics: dict[str, Metric] = {}
    if "squared" in parts[0]:
        counts = sum_by_user(parts, "users", "counts")
        metrics["rmse"] = settings.ratio(sum_by_user(parts, "users", "squared"), counts, root=True)
        metrics["mae"] = settings.ratio(sum_by_user(parts, "users", "absolute"), counts)
    if "recommended" in parts[0]:
        counts = sum_by_user(parts, "ranked_users", None)
        for metric in USER_METRICS:
            metrics[metric] = settings.ratio(sum_by_user(parts, "ranked_users", metric), counts)
        metrics["coverage"] = catalog_coverage(parts, n_items, settings)
    cost = {key: np.array([float(part[key]) for part in parts]) for key in ("cpu_s", "answer_us")}
    memory, storage = (int(parts[0][key]) for key in ("memory_bytes", "storage_bytes"))
    return AlgorithmResult(
        name, metrics, float(cost["cpu_s"].mean()), float(np.median(cost["answer_us"])), memory, storage
    )


def sum_by_user(parts: Sequence[Arrays], users: str, values: str | None) -> Floats:
    """Return the sums of ``values`` (None: of ones) over all splits, one for each user who is in any."""
    rows = np.concatenate([part[users] for part in parts]).astype(np.int64)
    numbers = np.concatenate([part[values].astype(float) for part in parts]) if values else np.ones(len(rows))
    sums = np.bincount(rows, numbers).astype(np.float64)
    return sums[np.bincount(rows) > 0]


def catalog_coverage(parts: Sequence[Arrays], n_items: int, settings: AggregateSettings) -> Metric:
    """Return the fraction of the catalog that is in any user's list, the mean over splits.

    The interval is +- 1.96 bootstrap standard errors. A resample has fewer distinct users, so that its percentiles lie
    below the value.
    """
    value = float(np.mean([len(np.unique(part["recommended"])) for part in parts])) / n_items
    users = np.unique(np.concatenate([part["ranked_users"] for part in parts]))
    rng, samples = np.random.default_rng(settings.seed), np.empty(settings.evaluation.resamples)
    for number in range(len(samples)):
        resampled = np.unique(rng.choice(users, len(users)))
        samples[number] = np.mean([_count_items(part, resampled) for part in parts]) / n_items
    half_width = _NORMAL_QUANTILE * float(samples.std())
    return Metric(value, value - half_width, value + half_width)


def _count_items(part: Arrays, users: NDArray[np.integer]) -> int:
    """Return the number of distinct items in the lists of ``users``."""
    recommended = part["recommended"][np.isin(part["ranked_users"], users)]
    return int(np.count_nonzero(np.bincount(recommended.ravel().astype(np.int64)))) if len(recommended) else 0
