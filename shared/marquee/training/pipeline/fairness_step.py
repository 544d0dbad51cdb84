"""Whether the model of the past is as good for everybody."""

from __future__ import annotations

from marquee.data import deterministic_io, snapshot, splits
from marquee.data.dataset_files import read_dataset, read_model
from marquee.evaluation import group_fairness
from marquee.training.pipeline.pipeline_run import FAIRNESS, FEATURES, PAST, SNAPSHOT, PipelineRun


def judge_fairness(run: PipelineRun) -> None:
    """The error of the model of the past for each group of users."""
    dataset, params = read_dataset(run.at(FEATURES)), run.params
    found = group_fairness.evaluate_groups(
        read_model(run.at(PAST)),
        splits.temporal_holdout(dataset, params.newest),
        snapshot.read_snapshot(run.at(SNAPSHOT)).base.side_information.users,
        params.fairness,
        params.evaluation,
        params.seed,
        dataset.sha256(),
    )
    deterministic_io.write_json(run.at(FAIRNESS), found)
