"""Pipeline steps in order, with the files that each reads and writes.

A step reads files of earlier steps and replaces its own atomically. ``dvc repro`` runs each step as a
process and skips those that are up to date. ``marquee retrain`` runs the same functions in one process, in
a temporary directory. Files, hashes and model are the same either way.

The last step, ``publish``, is not in :data:`STEPS`: it changes what serves, so it is neither skipped nor run
twice (:mod:`marquee.training.pipeline.publish_step`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

from marquee.training.pipeline.check_step import check_snapshot
from marquee.training.pipeline.evaluate_step import evaluate_model
from marquee.training.pipeline.fairness_step import evaluate_fairness
from marquee.training.pipeline.features_step import build_features
from marquee.training.pipeline.pipeline_run import (
    CHECKED,
    CHECKS_REPORT,
    COMPARISONS_REPORT,
    FAIRNESS_REPORT,
    FEATURES,
    FULL_MODEL,
    HOLDOUT_MODEL,
    HOLDOUT_REPORT,
    SERVING_PROFILE,
    SERVING_TUNING,
    SNAPSHOT,
    TUNING_REPORT,
    PipelineRun,
)
from marquee.training.pipeline.snapshot_step import take_snapshot
from marquee.training.pipeline.step_journal import StepJournal, measure_usage, open_journal, record_step
from marquee.training.pipeline.train_step import train_models
from marquee.training.pipeline.tune_step import choose_ranking_parameters

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PipelineStep:
    """Function of a step, and its inputs and outputs relative to the directory of the run.

    dvc.yaml also names the inputs from outside the pipeline: base data, parameters and code.
    """

    run: Callable[[PipelineRun], None]
    reads: tuple[str, ...]
    writes: tuple[str, ...]


STEPS = {
    "snapshot": PipelineStep(take_snapshot, (), (SNAPSHOT, SERVING_PROFILE, SERVING_TUNING)),
    "check": PipelineStep(check_snapshot, (SNAPSHOT, SERVING_PROFILE), (CHECKED, CHECKS_REPORT)),
    "features": PipelineStep(build_features, (SNAPSHOT, CHECKED), (FEATURES,)),
    "tune": PipelineStep(choose_ranking_parameters, (SNAPSHOT, FEATURES, SERVING_TUNING), (TUNING_REPORT,)),
    "train": PipelineStep(train_models, (FEATURES, TUNING_REPORT), (HOLDOUT_MODEL, FULL_MODEL)),
    "evaluate": PipelineStep(evaluate_model, (FEATURES, HOLDOUT_MODEL), (HOLDOUT_REPORT, COMPARISONS_REPORT)),
    "fairness": PipelineStep(evaluate_fairness, (SNAPSHOT, FEATURES, HOLDOUT_MODEL), (FAIRNESS_REPORT,)),
}


def run_all(run: PipelineRun, code: str = "", done: Collection[str] = ()) -> StepJournal:
    """Run every step in order in this process, and return the time and memory of each.

    A resumable run skips steps that were completed before a kill, if ``code``, a digest of the code of the steps, is
    unchanged. ``done`` are steps whose files are there already.
    """
    steps = STEPS if run.engine is None else run.engine.steps
    journal = open_journal(run, [name for step in steps.values() for name in step.writes], code)
    for name, step in steps.items():
        if name in done:
            continue
        if name in journal.steps:
            _log.info("step %s was complete when the run was stopped", name)
            continue
        run.progress(name, 0.0)
        usage = measure_usage(partial(step.run, run))
        journal = record_step(run, journal, name, usage)
        _log.info("step %s took %s", name, usage)
        run.progress(name, 1.0)
    return journal
