"""Pipeline step ``fairness``: the holdout model's quality for each group of users, and the exposure of movies."""

from __future__ import annotations

from marquee.data import deterministic_io, snapshot, splits
from marquee.data.dataset_files import read_dataset, read_model
from marquee.evaluation import group_fairness
from marquee.evaluation.group_fairness import Fairness
from marquee.training.pipeline.pipeline_run import (
    FAIRNESS_REPORT,
    FEATURES,
    HOLDOUT_MODEL,
    SNAPSHOT,
    PipelineRun,
)


def evaluate_fairness(run: PipelineRun) -> None:
    """Compute RMSE and NDCG by gender, age band and activity, and the Gini of exposure, on the temporal holdout."""
    dataset, params = read_dataset(run.path(FEATURES)), run.params
    fairness = group_fairness.evaluate_groups(
        read_model(run.path(HOLDOUT_MODEL)),
        splits.temporal_holdout(dataset, params.holdout_fraction),
        snapshot.read_side_information(run.path(SNAPSHOT)).users,
        params.fairness,
        params.evaluation,
        params.seed,
        dataset.sha256(),
    )
    deterministic_io.write_json(run.path(FAIRNESS_REPORT), fairness)


def read_fairness(run: PipelineRun) -> Fairness:
    """Return the report of the step."""
    return deterministic_io.read_json(run.path(FAIRNESS_REPORT), Fairness)
