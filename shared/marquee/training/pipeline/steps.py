"""The steps of a retraining. Each reads files that the steps before it left and puts its own in place, whole.

``dvc repro`` runs each as a process of its own and skips what is up to date; `marquee retrain` runs the same
functions one after the other in one process, in a directory that is gone afterwards. Either way the files,
and so their hashes and the model, are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from marquee.training.pipeline.check_step import check
from marquee.training.pipeline.evaluate_step import evaluate
from marquee.training.pipeline.fairness_step import judge_fairness
from marquee.training.pipeline.features_step import features
from marquee.training.pipeline.pipeline_run import (
    CHECKED,
    CHECKS,
    COMPARISONS,
    FAIRNESS,
    FEATURES,
    LAST,
    NEWEST,
    PAST,
    SNAPSHOT,
    WHOLE,
    PipelineRun,
)
from marquee.training.pipeline.snapshot_step import take_snapshot
from marquee.training.pipeline.train_step import train


@dataclass(frozen=True, slots=True)
class PipelineStep:
    """``reads`` and ``writes``: the names above; of other inputs the step's text in dvc.yaml speaks."""

    run: Callable[[PipelineRun], None]
    reads: tuple[str, ...]
    writes: tuple[str, ...]


STEPS = {
    "snapshot": PipelineStep(take_snapshot, (), (SNAPSHOT, LAST)),
    "check": PipelineStep(check, (SNAPSHOT, LAST), (CHECKED, CHECKS)),
    "features": PipelineStep(features, (SNAPSHOT, CHECKED), (FEATURES,)),
    "train": PipelineStep(train, (FEATURES,), (PAST, WHOLE)),
    "evaluate": PipelineStep(evaluate, (FEATURES, PAST), (NEWEST, COMPARISONS)),
    "fairness": PipelineStep(judge_fairness, (SNAPSHOT, FEATURES, PAST), (FAIRNESS,)),
}
"""All but the last, which is ``publication``: it changes what serves, and so is never skipped nor repeated."""


def run_all(run: PipelineRun) -> None:
    """Every step, in order, in this process."""
    for name, step in STEPS.items():
        run.progress(name, 0.0)
        step.run(run)
        run.progress(name, 1.0)
