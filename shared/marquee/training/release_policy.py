"""Whether a model may serve. What is in doubt passes: see docs/decisions/0005-the-gate.md."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from marquee.data import splits
from marquee.data.dataset_files import read_dataset, read_model
from marquee.errors import ArtifactRefused
from marquee.evaluation import artifact_candidate, paired_test
from marquee.evaluation.baselines import model_candidate
from marquee.evaluation.paired_test import PairedComparison, Significance
from marquee.registry.artifact import verify_artifact
from marquee.registry.manifest import read_manifest
from marquee.registry.object_store.object_store import ObjectStore
from marquee.training.pipeline import pipeline_run
from marquee.training.train_model import train_model


def objections(compared: Sequence[PairedComparison], drift: Sequence[str] = ()) -> list[str]:
    """Why the model should not be released, a sentence each: where it is worse beyond the interval of the
    difference, and where its data have drifted.
    """
    return [str(found) for found in compared if found.verdict is Significance.WORSE] + list(drift)


def faults(store: ObjectStore, version: str) -> list[str]:
    """Why the stored artifact must not serve: hashes, shapes, smoke test."""
    try:
        verify_artifact(store, version)
    except ArtifactRefused as error:
        return [str(error)]
    return []


def against_serving(
    run: pipeline_run.PipelineRun, store: ObjectStore, version: str
) -> list[PairedComparison]:
    """The new model against the artifact ``version`` on the newest slice, as far as neither has seen it.

    Only ratings later than everything that the serving model has learnt from count. Where that is younger
    than the slice's beginning, the new model is the one that would have been made then: the same data before
    that moment for both. Raises as ``artifact.read_items``.
    """
    dataset = read_dataset(run.at(pipeline_run.FEATURES))
    known_until = _microseconds(store, version)
    split = splits.temporal_holdout(dataset, run.params.newest)
    if known_until < int(split.test.times.min()):
        ours = read_model(run.at(pipeline_run.PAST))
    else:
        split = splits.split_at_time(dataset, known_until)
        if not _enough(split, run):
            users = len(np.unique(split.test.users))
            return [
                paired_test.too_few(metric, artifact_candidate.SERVING, users)
                for metric in (paired_test.RMSE, paired_test.NDCG)
            ]
        ours = train_model(split.train, run.params, run.progress)
    theirs = artifact_candidate.load_candidate(store, version, dataset)
    settled = (split, run.params.gate, run.params.evaluation, run.params.seed)
    candidate = model_candidate(ours)
    return [
        paired_test.compare_rmse(candidate, theirs, *settled),
        paired_test.compare_ndcg(candidate, theirs, *settled),
    ]


def _enough(split: splits.Split, run: pipeline_run.PipelineRun) -> bool:
    users = len(np.unique(split.test.users))
    return users >= run.params.gate.min_users and len(split.train.ratings) > 0


def _microseconds(store: ObjectStore, version: str) -> int:
    return splits.to_microseconds(read_manifest(store, version).trained_through)
