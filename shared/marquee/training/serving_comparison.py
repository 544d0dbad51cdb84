"""Comparison of a new model with the model that serves."""

from __future__ import annotations

import msgspec
import numpy as np

from marquee.config.timestamps import to_microseconds
from marquee.data import snapshot, splits
from marquee.data.dataset_files import read_dataset, read_model
from marquee.data.splits import Split
from marquee.evaluation import artifact_candidate, paired_test
from marquee.evaluation.baselines import model_candidate
from marquee.evaluation.fairness_comparison import compare_fairness
from marquee.evaluation.group_fairness import label_test_users
from marquee.evaluation.offline import UserMeasures, measure_users
from marquee.evaluation.paired_test import PairedComparison
from marquee.registry.manifest import read_manifest
from marquee.registry.object_store.object_store import ObjectStore
from marquee.training.pipeline.pipeline_run import FEATURES, HOLDOUT_MODEL, SNAPSHOT, PipelineRun
from marquee.training.pipeline.tune_step import read_choice
from marquee.training.train_model import train_model


def compare_with_serving(run: PipelineRun, store: ObjectStore, version: str) -> list[PairedComparison]:
    """Compare the new model with the artifact ``version`` on ratings that neither has learned from.

    Only ratings later than every event that the serving model has learned from count. If the serving model is
    older than the temporal holdout, the holdout model is compared on the whole holdout. Otherwise a model is
    trained with the new parameters on the data up to the serving model's last event: both have then seen the
    same data. Error and NDCG are compared, the gaps between groups of users in both, and the Gini coefficient of
    exposure. With fewer than ``release_policy.min_users`` users in the test, the result is "too few".

    Raises as ``item_store.read_items`` if the artifact cannot be read.
    """
    dataset = read_dataset(run.path(FEATURES))
    trained_through = to_microseconds(read_manifest(store, version).trained_through)
    split = splits.temporal_holdout(dataset, run.params.holdout_fraction)
    if trained_through < int(split.test.times.min()):
        model = read_model(run.path(HOLDOUT_MODEL))
    else:
        split = splits.split_at_time(dataset, trained_through)
        users = len(np.unique(split.test.users))
        if users < run.params.release_policy.min_users or not len(split.train.ratings):
            metrics = (paired_test.RMSE, paired_test.NDCG)
            return [paired_test.too_few(metric, artifact_candidate.SERVING, users) for metric in metrics]
        model = train_model(split.train, run.params, run.progress, read_choice(run).chosen)
    baseline = artifact_candidate.load_candidate(store, version, dataset)
    return _compare(run, measure_users(model_candidate(model), split), measure_users(baseline, split), split)


def _compare(run: PipelineRun, model: UserMeasures, serving: UserMeasures, split: Split) -> list[PairedComparison]:
    """Compare error, ranking quality and fairness."""
    params, name = run.params, artifact_candidate.SERVING
    policy, options = params.release_policy, (params.evaluation, params.seed)
    errors, ndcg = (model.squared, serving.squared), (model.ndcg, serving.ndcg)
    users = snapshot.read_side_information(run.path(SNAPSHOT)).users
    error_test = policy.against_serving(paired_test.RMSE)
    return [
        paired_test.paired_bootstrap(paired_test.RMSE, name, errors, model.counts, error_test, *options),
        paired_test.paired_bootstrap(paired_test.NDCG, name, ndcg, np.ones(len(model.ndcg)), policy, *options),
        *compare_fairness(
            (model, serving),
            label_test_users(split, model.users, users),
            split.train.n_items,
            name,
            msgspec.structs.replace(policy, min_users=params.fairness.min_users),
            *options,
        ),
    ]
