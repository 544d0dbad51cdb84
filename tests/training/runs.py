"""Retrainings as of a chosen second, with the fast reference trainer, good or spoiled."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from marquee.data.snapshot import SnapshotRequest
from marquee.evaluation.offline import EvaluationParams
from marquee.registry.object_store.object_store import ObjectStore
from marquee.training.params import Params
from marquee.training.pipeline import pipeline_run, steps
from marquee.training.publish import RetrainResult
from marquee.training.retrain import retrain

PARAMS_FILE = Path(__file__).parents[2] / "params.yaml"
PARAMS = Params.read(PARAMS_FILE)
PARAMS = msgspec.structs.replace(PARAMS, evaluation=EvaluationParams(resamples=200, interval=0.95))
SVD = {"n_factors": 8, "n_epochs": 30, "learning_rate": 0.03, "regularisation": 0.02}


def trained_by(**changes: Any) -> Params:
    """The fast reference trainer, good at the blocks unless ``changes`` spoil it."""
    return msgspec.structs.replace(
        PARAMS, trainer="surprise_svd", trainers={**PARAMS.trainers, "surprise_svd": {**SVD, **changes}}
    )


GOOD = trained_by()
SPOILED = trained_by(n_epochs=1, learning_rate=1e-6)  # Learns nothing: every rating is the mean.


def until(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)


def run(store: ObjectStore, base: Path, second: int, params: Params = GOOD, **more: Any) -> RetrainResult:
    """Retrain as of ``second``."""
    return retrain(SnapshotRequest(until(second), base, 1.0, 5.0), params, store, commit="abc", **more)


def prepared(base: Path, root: Path, second: int) -> pipeline_run.PipelineRun:
    done = pipeline_run.PipelineRun(root, GOOD, SnapshotRequest(until(second), base, 1.0, 5.0))
    steps.run_all(done)
    return done
