"""The two models."""

from __future__ import annotations

from marquee.data import splits
from marquee.data.dataset_files import read_dataset, write_model
from marquee.training.pipeline.pipeline_run import FEATURES, PAST, WHOLE, PipelineRun
from marquee.training.train_model import train_model


def train(run: PipelineRun) -> None:
    """Two models: of the past, to be asked about the newest slice, and of the whole, to serve."""
    dataset = read_dataset(run.at(FEATURES))
    split = splits.temporal_holdout(dataset, run.params.newest)
    write_model(run.at(PAST), train_model(split.train, run.params, run.progress))
    write_model(run.at(WHOLE), train_model(dataset, run.params, run.progress))
