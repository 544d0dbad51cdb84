"""Inputs of a pipeline step, and the locations of the steps' files.

Each step imports this module. It imports nothing at run time that is not needed by all of them, because a
changed module makes every step that imports it stale (:mod:`marquee.training.pipeline.code_fingerprint`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from marquee.data.snapshot import SnapshotRequest
    from marquee.db.pool import Database
    from marquee.models.trainer_port import ProgressCallback
    from marquee.registry.object_store.object_store import ObjectStore
    from marquee.training.cluster.spark_engine import SparkEngine
    from marquee.training.params import Params

# Outputs of the steps, relative to the directory of the run. dvc.yaml has the same paths.
SNAPSHOT = "data/pipeline/snapshot"
SERVING_PROFILE = "data/pipeline/serving_profile.json"
SERVING_TUNING = "data/pipeline/serving_tuning.json"
CHECKED = "data/pipeline/checked"
CHECKS_REPORT = "reports/checks.json"
FEATURES = "data/pipeline/features"
TUNING_REPORT = "reports/tuning.json"
HOLDOUT_MODEL = "data/pipeline/holdout_model"
FULL_MODEL = "data/pipeline/full_model"
HOLDOUT_REPORT = "reports/holdout.json"
COMPARISONS_REPORT = "reports/comparisons.json"
FAIRNESS_REPORT = "reports/fairness.json"


@dataclass(frozen=True, slots=True)
class PipelineRun:
    """Inputs of every step. ``root`` is the directory of the files.

    Only the step ``snapshot`` uses ``request``, ``database``, ``store``, ``privacy_key``, ``movies_url``, the movie
    service that describes movies, and ``remote``, the DVC remote with the last snapshot. It writes the data, and the
    profile and chosen parameters of the serving model, to files, which the later steps read. ``resumable``: ``root``
    outlives the process, and what a killed run of the same inputs has completed there is used. ``engine``: the cluster
    of ``engine: spark``, None for this process.
    """

    root: Path
    params: Params
    request: SnapshotRequest
    progress: ProgressCallback
    database: Database | None = None
    store: ObjectStore | None = None
    privacy_key: str = field(default="", repr=False)
    resumable: bool = False
    movies_url: str = ""
    remote: ObjectStore | None = None
    engine: SparkEngine | None = None

    def path(self, name: str) -> Path:
        """Return the path of a step's file or directory."""
        return self.root / name
