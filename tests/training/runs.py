"""Helpers that retrain as of a chosen second, with the fast reference trainer."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from tests.support.synthetic_data import SECOND, blocks

from marquee.data.snapshot import SnapshotRequest
from marquee.evaluation.bootstrap import EvaluationParams
from marquee.models.trainer_port import no_progress
from marquee.registry.object_store.object_store import ObjectStore
from marquee.training.params import Params
from marquee.training.pipeline import steps
from marquee.training.pipeline.pipeline_run import PipelineRun
from marquee.training.pipeline.publish_step import RetrainResult
from marquee.training.retrain import retrain

PARAMS_FILE = Path(__file__).parents[2] / "params.yaml"
PARAMS = Params.read(PARAMS_FILE)
PARAMS = msgspec.structs.replace(PARAMS, evaluation=EvaluationParams(resamples=200, interval=0.95))
SURPRISE_SVD = {"n_factors": 8, "n_epochs": 30, "learning_rate": 0.03, "regularisation": 0.02}


def reference_params(**changes: Any) -> Params:
    """Return the parameters of the fast reference trainer, which learns the blocks well, with ``changes``."""
    trainers = {**PARAMS.trainers, "surprise_svd": {**SURPRISE_SVD, **changes}}
    return msgspec.structs.replace(PARAMS, trainer="surprise_svd", trainers=trainers)


GOOD = reference_params()
UNTRAINED = reference_params(n_epochs=1, learning_rate=1e-6)  # Learns nothing: every rating is the mean.


def write_block_ratings(directory: Path, **shape: int) -> Path:
    """Write ``ratings.csv`` with the ratings of :func:`blocks`, spread over 999 s from 1970 on."""
    directory.mkdir()
    ratings = blocks(**shape)
    table = ratings.rename(columns={"value": "rating"}).assign(time=ratings["time"] // SECOND)
    table.to_csv(directory / "ratings.csv", index=False)
    return directory


def snapshot_request(base: Path, second: int) -> SnapshotRequest:
    """Return a request for the events before ``second``."""
    return SnapshotRequest(datetime.fromtimestamp(second, UTC), base, 1.0, 5.0)


def retrain_until(store: ObjectStore, base: Path, second: int, params: Params = GOOD, **options: Any) -> RetrainResult:
    """Retrain on the events before ``second``."""
    return retrain(snapshot_request(base, second), params, store, commit="abc", **options)


def run_steps(base: Path, root: Path, second: int) -> PipelineRun:
    """Run all steps but ``publish`` in ``root``, on the events before ``second``."""
    run = PipelineRun(root, GOOD, snapshot_request(base, second), no_progress)
    steps.run_all(run)
    return run
