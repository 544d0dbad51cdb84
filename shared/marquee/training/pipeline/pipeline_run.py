"""What every step is given, where each leaves its files, and what their reports hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from marquee.data import deterministic_io
from marquee.data.snapshot import SnapshotRequest
from marquee.db.pool import Database
from marquee.evaluation.group_fairness import Fairness
from marquee.evaluation.offline import Evaluation
from marquee.evaluation.paired_test import PairedComparison
from marquee.models.trainer_port import Progress, no_progress
from marquee.monitoring.drift import DataProfile
from marquee.registry.object_store.object_store import ObjectStore
from marquee.training.params import Params

# Where each step leaves what, below the directory of the run. dvc.yaml says the same.
SNAPSHOT, LAST = "data/pipeline/snapshot", "data/pipeline/last.json"
CHECKED, CHECKS = "data/pipeline/checked", "reports/checks.json"
FEATURES = "data/pipeline/features"
PAST, WHOLE = "data/pipeline/past", "data/pipeline/whole"
NEWEST, COMPARISONS = "reports/newest.json", "reports/comparisons.json"
FAIRNESS = "reports/fairness.json"


@dataclass(frozen=True, slots=True)
class PipelineRun:
    """What every step is given: ``root``, the directory of the files, and ``params``.

    Only the first step looks at ``request``, ``database`` and ``store``, where the last snapshot's profile is
    found; what it finds is in its files from then on.
    """

    root: Path
    params: Params
    request: SnapshotRequest
    database: Database | None = None
    store: ObjectStore | None = None
    progress: Progress = no_progress

    def at(self, name: str) -> Path:
        """Where a step's file or directory is."""
        return self.root / name


class CheckReport(msgspec.Struct, frozen=True):
    """``doubled``: rows of a pair that has a newer one; ``unlisted``: rows of movies that too few know."""

    profile: DataProfile
    doubled: int
    unlisted: int
    drift: list[str]


class Comparisons(msgspec.Struct, frozen=True):
    """By what was compared with what."""

    found: dict[str, PairedComparison]


def read_evaluation(run: PipelineRun) -> Evaluation:
    """What the step ``evaluate`` found."""
    return deterministic_io.read_json(run.at(NEWEST), Evaluation)


def read_comparisons(run: PipelineRun) -> list[PairedComparison]:
    """How the model stands against the baselines."""
    return list(deterministic_io.read_json(run.at(COMPARISONS), Comparisons).found.values())


def read_checks(run: PipelineRun) -> CheckReport:
    """What the step ``check`` found."""
    return deterministic_io.read_json(run.at(CHECKS), CheckReport)


def read_fairness(run: PipelineRun) -> Fairness:
    """What the step ``fairness`` found."""
    return deterministic_io.read_json(run.at(FAIRNESS), Fairness)
