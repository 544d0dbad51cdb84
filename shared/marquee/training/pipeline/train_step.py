"""The two models."""

from __future__ import annotations

from marquee.data import splits
from marquee.data.dataset_files import read_dataset, write_model
from marquee.training.pipeline.pipeline_run import FEATURES, PAST, WHOLE, Run
from marquee.training.train_model import fit


def train(run: Run) -> None:
    """Two models: of the past, to be asked about the newest slice, and of the whole, to serve."""
    dataset = read_dataset(run.at(FEATURES))
    split = splits.newest(dataset, run.params.newest)
    write_model(run.at(PAST), fit(split.train, run.params, run.progress))
    write_model(run.at(WHOLE), fit(dataset, run.params, run.progress))
