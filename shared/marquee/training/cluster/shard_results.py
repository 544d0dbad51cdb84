"""Metrics, comparisons and fairness from the sums of all shards."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from marquee.evaluation import exposure, prediction_intervals
from marquee.evaluation.bootstrap import EvaluationParams, percentile_interval
from marquee.evaluation.fairness_comparison import (
    EXPOSURE_GINI,
    NDCG_GAP,
    RMSE_GAP,
    ComparedMetric,
    compare_jointly,
)
from marquee.evaluation.group_fairness import Fairness, FairnessParams, GroupMetric, ndcg_gap, rmse_gap
from marquee.evaluation.offline import CUTOFFS, OfflineEvaluation
from marquee.evaluation.paired_test import (
    NDCG,
    RMSE,
    PairedComparison,
    PairedTestParams,
    compare_samples,
    too_few,
)
from marquee.evaluation.user_groups import ACTIVITY, AGE, GENDER, UNKNOWN
from marquee.models.trainer_port import Floats
from marquee.registry.manifest import Metric
from marquee.training.cluster.shard_evaluation import BIAS_ONLY, MODEL, POPULARITY
from marquee.training.cluster.spark_session import Totals

KINDS = (GENDER, AGE, ACTIVITY)
_METRICS = ("rmse", "mae", *(f"{name}@{k}" for k in CUTOFFS for name in ("ndcg", "recall")))


class ShardResults:
    """Sums of all shards. ``totals`` are those of :func:`~marquee.training.cluster.shard_evaluation.measure_shard`."""

    def __init__(self, totals: Totals, evaluation: EvaluationParams, seed: int, data: str) -> None:
        self._totals = totals
        self._evaluation = evaluation
        self._seed = seed
        self._data = data

    @property
    def users(self) -> int:
        """Number of users with test ratings."""
        return int(self._totals.get("users", 0))

    def evaluate(self, split: str) -> OfflineEvaluation:
        """Return the metrics of the model and the baselines."""
        totals = self._totals
        errors, known = np.concatenate(totals["errors"]), np.concatenate(totals["known_ratings"])
        return OfflineEvaluation(
            split=split,
            ratings=int(totals["ratings"][0]),
            users=self.users,
            known_users=totals["known"],
            ranked_users=totals["ranked_users"],
            seed=self._seed,
            data=self._data,
            metrics={name: self._metrics(name) for name in (MODEL, POPULARITY, BIAS_ONLY)},
            prediction_intervals=prediction_intervals.calibrate(errors, known),
        )

    def compare(self, metric: str, baseline: str, test: PairedTestParams) -> PairedComparison:
        """Compare the model with ``baseline``, over users with the same weights."""
        users = self.users if metric == RMSE else self._totals.get("ranked_users", 0)
        if not users:
            return too_few(metric, baseline, users)
        first, second = (self._samples(name, metric) for name in (MODEL, baseline))
        values = float(first[0]), float(second[0])
        return compare_samples(metric, baseline, values, (first - second)[1:], users, test, self._evaluation)

    def compare_fairness(self, baseline: str, test: PairedTestParams) -> list[PairedComparison]:
        """Compare the gaps between groups of users, and the inequality of exposure."""
        measured = [*self._compare_gaps(baseline, test.min_users), self._compare_ginis(baseline, test.min_users)]
        return compare_jointly(measured, baseline, test, self._evaluation)

    def fairness(self, params: FairnessParams) -> Fairness:
        """Return the model's metrics for each group of users."""
        groups = {kind: {group: self._group(kind, group) for group in self._groups(kind)} for kind in KINDS}
        return Fairness(
            groups,
            {kind: rmse_gap(by_group, params.min_users) for kind, by_group in groups.items()},
            self._seed,
            self._data,
            {kind: ndcg_gap(by_group, params.min_users) for kind, by_group in groups.items()},
            self._gini(MODEL) if self._totals.get("ranked_users") else None,
        )

    def _metrics(self, name: str) -> dict[str, Metric]:
        metrics = {}
        for metric in _METRICS:
            column = {"rmse": "squared", "mae": "absolute"}.get(metric, metric)
            if f"{name}/{column}" in self._totals:
                metrics[metric] = self._metric(self._samples(name, metric))
        if f"{name}/exposure" in self._totals:
            metrics[f"exposure_gini@{exposure.LENGTH}"] = self._gini(name)
            total = exposure.position_discounts(exposure.LENGTH).sum()
            share = self._totals[f"{name}/tail"] / (total * self._totals["ranked"])
            metrics[f"tail_exposure@{exposure.LENGTH}"] = self._metric(share)
        return metrics

    def _samples(self, name: str, metric: str, prefix: str = "") -> Floats:
        """Return the metric in total, and in each resample."""
        totals = self._totals
        with np.errstate(invalid="ignore", divide="ignore"):
            if metric in (RMSE, "mae"):
                column = "squared" if metric == RMSE else "absolute"
                values: Floats = totals[f"{prefix}{name}/{column}"] / totals[f"{prefix}ratings"]
                return np.sqrt(values) if metric == RMSE else values
            ratios: Floats = totals[f"{prefix}{name}/{metric}"] / totals[f"{prefix}ranked"]
            return ratios

    def _metric(self, samples: Floats) -> Metric:
        drawn = samples[1:][np.isfinite(samples[1:])]
        value = float(samples[0])
        return Metric(value, *percentile_interval(drawn, self._evaluation.interval)) if len(drawn) else Metric(value)

    def _groups(self, kind: str) -> list[str]:
        prefix = f"users/{kind}/"
        return sorted(name.removeprefix(prefix) for name in self._totals if name.startswith(prefix))

    def _group(self, kind: str, group: str) -> GroupMetric:
        prefix, ranked = f"{kind}/{group}/", int(self._totals[f"ranked/{kind}/{group}"])
        return GroupMetric(
            self._metric(self._samples(MODEL, RMSE, prefix)),
            int(self._totals[f"users/{kind}/{group}"]),
            self._metric(self._samples(MODEL, NDCG, prefix)) if ranked else None,
            ranked,
        )

    def _ginis(self, name: str) -> Floats:
        return np.array([exposure.gini(row) for row in self._totals[f"{name}/exposure"]])

    def _gini(self, name: str) -> Metric:
        """Return the Gini coefficient; its resamples are shifted as in ``exposure.exposure_gini``."""
        value, *drawn = self._ginis(name).tolist()
        shifted = np.array(drawn) - np.mean(drawn) + value
        low, high = percentile_interval(shifted, self._evaluation.interval)
        return Metric(value, low, min(high, 1.0))

    def _compare_gaps(self, baseline: str, min_users: int) -> Iterator[ComparedMetric | tuple[str, int]]:
        for title, metric, count in ((RMSE_GAP, RMSE, "users"), (NDCG_GAP, NDCG, "ranked")):
            for kind in KINDS:
                sizes = {group: int(self._totals[f"{count}/{kind}/{group}"]) for group in self._groups(kind)}
                large = [group for group, n in sizes.items() if n >= min_users and group != UNKNOWN]
                users, name = sum(sizes[group] for group in large), f"{title}.{kind}"
                if len(large) < 2:
                    yield name, users
                    continue
                gaps = []
                for model in (MODEL, baseline):
                    values = np.stack([self._samples(model, metric, f"{kind}/{group}/") for group in large])
                    gaps.append(np.nanmax(values, axis=0) - np.nanmin(values, axis=0))
                yield ComparedMetric(name, (float(gaps[0][0]), float(gaps[1][0])), np.stack(gaps)[:, 1:], users)

    def _compare_ginis(self, baseline: str, min_users: int) -> ComparedMetric | tuple[str, int]:
        users = int(self._totals.get("ranked_users", 0))
        if users < max(1, min_users):
            return EXPOSURE_GINI, users
        ginis = np.stack([self._ginis(name) for name in (MODEL, baseline)])
        return ComparedMetric(EXPOSURE_GINI, (float(ginis[0, 0]), float(ginis[1, 0])), ginis[:, 1:], users)
