"""Pipeline step ``tune``: parameters of the ranking model, chosen on cuts before the temporal holdout."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from marquee.data import deterministic_io, snapshot, splits
from marquee.data.dataset import Dataset
from marquee.data.dataset_files import read_dataset
from marquee.models.ease import EaseParams
from marquee.models.trainer_port import read_section
from marquee.training.pipeline.pipeline_run import FEATURES, SERVING_TUNING, SNAPSHOT, TUNING_REPORT, PipelineRun
from marquee.training.tuning import NOTHING_CHOSEN, TuningChoice, choose_parameters
from marquee.training.tuning_cohorts import choose_cohort_strength

if TYPE_CHECKING:
    from marquee.training.params import Params

_log = logging.getLogger(__name__)
TUNED_RANKER = "ease"


def choose_ranking_parameters(run: PipelineRun) -> None:
    """Choose the parameters on the training part of the temporal holdout, which both models then use."""
    run.progress("tune", 0.0)
    params = run.params
    if params.ranker == TUNED_RANKER:
        choice = _choose(run)
    else:
        choice = TuningChoice(note=f"the ranker {params.ranker} has the parameters of params.yaml")
    _log.info("parameters of the ranking model: %s", choice.note)
    deterministic_io.write_json(run.path(TUNING_REPORT), choice)
    run.progress("tune", 1.0)


def read_choice(run: PipelineRun) -> TuningChoice:
    """Return the choice that the step wrote."""
    return deterministic_io.read_json(run.path(TUNING_REPORT), TuningChoice)


def tune_ranker(train: Dataset, params: Params, previous: TuningChoice = NOTHING_CHOSEN) -> TuningChoice:
    """Choose the parameters of :data:`TUNED_RANKER` and of popularity on ``train`` (:func:`choose_parameters`)."""
    section = read_section(params.rankers[TUNED_RANKER], EaseParams, f"rankers.{TUNED_RANKER}")
    return choose_parameters(
        train, section, params.popularity, params.tuning, params.holdout_fraction, params.seed, previous
    )


def _choose(run: PipelineRun) -> TuningChoice:
    params = run.params
    previous = deterministic_io.read_json(run.path(SERVING_TUNING), TuningChoice)
    train = splits.temporal_holdout(read_dataset(run.path(FEATURES)), params.holdout_fraction).train
    choice = tune_ranker(train, params, previous)
    side_information = snapshot.read_side_information(run.path(SNAPSHOT))
    allowed = side_information.limited_to(params.data.user_attributes)
    return choose_cohort_strength(train, allowed, choice, params.tuning, params.holdout_fraction, params.seed, previous)
