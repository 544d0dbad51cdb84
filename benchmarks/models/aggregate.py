"""Splits of one protocol put together: every figure with its interval over users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.models.report_model import AlgorithmResult
from benchmarks.models.split_metrics import SHOWN, Arrays
from marquee.evaluation.bootstrap import Estimate, ratio_of_sums
from marquee.evaluation.offline import EvaluationParams
from marquee.training.params import Params

Floats = NDArray[np.float64]
BY_USER = ("ndcg@10", "ndcg@20", "recall@10", "recall@20", "novelty")
_NORMAL = 1.959963984540054  # of 95 %


@dataclass(frozen=True, slots=True)
class AggregateSettings:
    """How intervals are made. ``data``: the SHA-256 of the dataset."""

    evaluation: EvaluationParams
    seed: int
    data: str

    @classmethod
    def of(cls, params: Params, data: str) -> AggregateSettings:
        return cls(params.evaluation, params.seed, data)

    def figure(self, sums: Floats, counts: Floats, root: bool = False) -> Estimate:
        """``sums / counts`` over users, [n_users] each."""
        return ratio_of_sums(
            sums,
            counts,
            resamples=self.evaluation.resamples,
            interval=self.evaluation.interval,
            seed=self.seed,
            data=self.data,
            root=root,
        )


def row(name: str, parts: Sequence[Arrays], n_items: int, settings: AggregateSettings) -> AlgorithmResult:
    """One system on all splits of a protocol. A user who is in several splits is still one user."""
    figures: dict[str, Estimate] = {}
    if "squared" in parts[0]:
        counts = by_user(parts, "users", "counts")
        for metric, sums, root in (("rmse", "squared", True), ("mae", "absolute", False)):
            figures[metric] = settings.figure(by_user(parts, "users", sums), counts, root)
    if "shown" in parts[0]:
        counts = by_user(parts, "ranked", None)
        for metric in BY_USER:
            figures[metric] = settings.figure(by_user(parts, "ranked", metric), counts)
        figures["coverage"] = coverage(parts, n_items, settings)
    cost = {key: np.array([float(part[key]) for part in parts]) for key in ("cpu_s", "answer_us")}
    held, stored = (int(parts[0][key]) for key in ("in_memory", "on_disk"))
    return AlgorithmResult(
        name, figures, float(cost["cpu_s"].mean()), float(np.median(cost["answer_us"])), held, stored
    )


def by_user(parts: Sequence[Arrays], users: str, values: str | None) -> Floats:
    """The sums of ``values`` (None: of ones) of each user over all splits, for users who are in any."""
    rows = np.concatenate([part[users] for part in parts]).astype(np.int64)
    numbers = np.concatenate([part[values].astype(float) for part in parts]) if values else np.ones(len(rows))
    sums = np.bincount(rows, numbers).astype(np.float64)
    return sums[np.bincount(rows) > 0]


def coverage(parts: Sequence[Arrays], n_items: int, settings: AggregateSettings) -> Estimate:
    """The share of the catalogue that is shown to anybody, on average over splits.

    The interval is +- 1.96 bootstrap standard errors: a resample has fewer distinct users, so that its percentiles
    would lie below the figure.
    """
    value = float(np.mean([len(np.unique(part["shown"])) for part in parts])) / n_items
    users = np.unique(np.concatenate([part["ranked"] for part in parts]))
    rng, drawn = np.random.default_rng(settings.seed), np.empty(settings.evaluation.resamples)
    for number in range(len(drawn)):
        chosen = np.unique(rng.choice(users, len(users)))
        drawn[number] = np.mean([_items(part, chosen) for part in parts]) / n_items
    half = _NORMAL * float(drawn.std())
    return Estimate(value, value - half, value + half, len(users), settings.seed, settings.data)


def _items(part: Arrays, users: NDArray[np.integer]) -> int:
    shown = part["shown"][np.isin(part["ranked"], users)]
    return int(np.count_nonzero(np.bincount(shown.ravel().astype(np.int64)))) if len(shown) else 0


assert SHOWN == 20  # as the names of the metrics say
