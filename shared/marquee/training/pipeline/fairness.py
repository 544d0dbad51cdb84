"""Whether the model of the past is as good for everybody."""

from __future__ import annotations

from marquee.training import fairness, snapshot, splits, tables
from marquee.training.dataset_files import read_dataset, read_model
from marquee.training.pipeline.run import FAIRNESS, FEATURES, PAST, SNAPSHOT, Run


def judge_fairness(run: Run) -> None:
    """The error of the model of the past for each group of users."""
    dataset, params = read_dataset(run.at(FEATURES)), run.params
    found = fairness.by_group(
        read_model(run.at(PAST)),
        splits.newest(dataset, params.newest),
        snapshot.read(run.at(SNAPSHOT)).base.facts.users,
        params.fairness,
        params.evaluation,
        params.seed,
        dataset.sha256(),
    )
    tables.write_json(run.at(FAIRNESS), found)
