"""Pipeline step ``evaluate``: metrics of the holdout model and comparisons with the baselines."""

from __future__ import annotations

import msgspec

from marquee.data import deterministic_io, splits
from marquee.data.dataset_files import read_dataset, read_model
from marquee.evaluation import offline, paired_test
from marquee.evaluation.baselines import bias_baseline, model_candidate, popularity_baseline
from marquee.evaluation.offline import OfflineEvaluation
from marquee.evaluation.paired_test import PairedComparison
from marquee.training.pipeline.pipeline_run import (
    COMPARISONS_REPORT,
    FEATURES,
    HOLDOUT_MODEL,
    HOLDOUT_REPORT,
    PipelineRun,
)


class Comparisons(msgspec.Struct, frozen=True):
    """Paired comparisons by name, such as ``rmse against bias_only``."""

    comparisons: dict[str, PairedComparison]


def evaluate_model(run: PipelineRun) -> None:
    """Evaluate the holdout model and the baselines on the temporal holdout, and compare them."""
    run.progress("evaluate", 0.0)
    dataset, model, params = read_dataset(run.path(FEATURES)), read_model(run.path(HOLDOUT_MODEL)), run.params
    split = splits.temporal_holdout(dataset, params.holdout_fraction)
    evaluation = offline.evaluate(model, split, params.evaluation, params.seed, dataset.sha256())
    deterministic_io.write_json(run.path(HOLDOUT_REPORT), evaluation)
    candidate = model_candidate(model)
    options = (split, params.release_policy, params.evaluation, params.seed)
    comparisons = [
        paired_test.compare_rmse(candidate, bias_baseline(split.train), *options),
        paired_test.compare_ndcg(candidate, popularity_baseline(model), *options),
    ]
    report = Comparisons({f"{c.metric} against {c.baseline}": c for c in comparisons})
    deterministic_io.write_json(run.path(COMPARISONS_REPORT), report)
    run.progress("evaluate", 1.0)


def read_evaluation(run: PipelineRun) -> OfflineEvaluation:
    """Return the metrics that the step wrote."""
    return deterministic_io.read_json(run.path(HOLDOUT_REPORT), OfflineEvaluation)


def read_comparisons(run: PipelineRun) -> list[PairedComparison]:
    """Return the comparisons with the baselines that the step wrote."""
    return list(deterministic_io.read_json(run.path(COMPARISONS_REPORT), Comparisons).comparisons.values())
