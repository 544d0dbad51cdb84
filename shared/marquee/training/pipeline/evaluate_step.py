"""How good the model of the past is on what came after."""

from __future__ import annotations

from marquee.data import deterministic_io, splits
from marquee.data.dataset_files import read_dataset, read_model
from marquee.evaluation import paired_test
from marquee.evaluation.baselines import bias_baseline, model_candidate, popularity_baseline
from marquee.evaluation.offline import evaluate as evaluated
from marquee.training.pipeline.pipeline_run import (
    COMPARISONS,
    FEATURES,
    NEWEST,
    PAST,
    Comparisons,
    PipelineRun,
)


def evaluate(run: PipelineRun) -> None:
    """The model of the past on the newest slice, beside the baselines and against them."""
    run.progress("evaluate", 0.0)
    dataset, model, params = read_dataset(run.at(FEATURES)), read_model(run.at(PAST)), run.params
    split = splits.temporal_holdout(dataset, params.newest)
    figures = evaluated(model, split, params.evaluation, params.seed, dataset.sha256())
    ours, settled = model_candidate(model), (split, params.gate, params.evaluation, params.seed)
    deterministic_io.write_json(run.at(NEWEST), figures)
    against = [
        paired_test.compare_rmse(ours, bias_baseline(split.train), *settled),
        paired_test.compare_ndcg(ours, popularity_baseline(model), *settled),
    ]
    found = Comparisons({f"{c.metric} against {c.against}": c for c in against})
    deterministic_io.write_json(run.at(COMPARISONS), found)
    run.progress("evaluate", 1.0)
