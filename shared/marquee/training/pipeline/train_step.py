"""Pipeline step ``train``: the holdout model and the full model."""

from __future__ import annotations

from marquee.data import splits
from marquee.data.dataset_files import read_dataset, write_model
from marquee.training.pipeline.pipeline_run import FEATURES, FULL_MODEL, HOLDOUT_MODEL, PipelineRun
from marquee.training.pipeline.tune_step import read_choice
from marquee.training.train_model import train_model


def train_models(run: PipelineRun) -> None:
    """Train one model without the temporal holdout, to evaluate, and one on all data, to serve.

    A resumed run keeps the first one if it was complete: its directory is written atomically.
    """
    dataset = read_dataset(run.path(FEATURES))
    chosen = read_choice(run).chosen
    if not (run.resumable and run.path(HOLDOUT_MODEL).exists()):
        split = splits.temporal_holdout(dataset, run.params.holdout_fraction)
        write_model(run.path(HOLDOUT_MODEL), train_model(split.train, run.params, run.progress, chosen))
        del split
    write_model(run.path(FULL_MODEL), train_model(dataset, run.params, run.progress, chosen))
