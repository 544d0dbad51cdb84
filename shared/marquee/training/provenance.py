"""Provenance of a model: everything that is needed to reproduce it."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from marquee.data import dvc_remote, snapshot
from marquee.data.dataset_files import read_dataset
from marquee.models.ranker_port import describe_method
from marquee.registry.manifest import Provenance, Stage
from marquee.training.params import SnapshotParams
from marquee.training.pipeline import steps
from marquee.training.pipeline.check_step import read_checks
from marquee.training.pipeline.pipeline_run import FEATURES, SNAPSHOT, PipelineRun
from marquee.training.pipeline.tune_step import read_choice

_LIBRARIES = (
    "marquee",
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "numba",
    "scikit-surprise",
    "threadpoolctl",
    "pyspark",
)

_MODEL_SOURCES = (":(top)shared", ":(top)params.yaml", ":(top)dvc.yaml")


def collect_provenance(run: PipelineRun, commit: str = "") -> Provenance:
    """Collect the provenance of a run with finished steps.

    ``commit`` identifies the program if it does not run in its repository.
    """
    if run.engine is not None:
        return run.engine.collect_provenance(run, commit)
    dataset = read_dataset(run.path(FEATURES))
    about = snapshot.read_about(run.path(SNAPSHOT))
    stages = {name: _hash_files(run, step) for name, step in steps.STEPS.items()}
    described = describe_run(
        run,
        commit,
        trainer=run.params.trainer,
        ranking_method=describe_method(run.params.ranker, run.params.rankers[run.params.ranker], dataset.n_items),
        data={**about.files, "dataset": dataset.sha256()},
        database=about.database,
    )
    return msgspec.structs.replace(described, snapshot=stages["snapshot"].outs[SNAPSHOT], stages=stages)


def describe_run(
    run: PipelineRun, commit: str, *, trainer: str, ranking_method: str, data: dict[str, str], database: bool
) -> Provenance:
    """Return the provenance without hashes of the run's files. ``database``: whether the snapshot has its events."""
    snapshot_params = SnapshotParams.from_request(run.request, database=database)
    return Provenance(
        trainer=trainer,
        ranker=run.params.ranker,
        ranking_method=ranking_method,
        parameters=msgspec.structs.replace(run.params, snapshot=snapshot_params).as_dict(),
        tuning=msgspec.to_builtins(read_choice(run)),
        seed=run.params.seed,
        libraries=library_versions(),
        commit=commit or git_commit(),
        data=data,
        profile=msgspec.to_builtins(read_checks(run).profile),
    )


def _hash_files(run: PipelineRun, step: steps.PipelineStep) -> Stage:
    """Hash the inputs and outputs of a step, as in dvc.lock."""
    deps, outs = ({name: dvc_remote.hash_path(run.path(name)) for name in names} for names in (step.reads, step.writes))
    return Stage(deps, outs)


def library_versions() -> dict[str, str]:
    """Return the versions of Python and of each installed library that affects a model."""
    versions = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def git_commit() -> str:
    """Return the commit of the repository that contains this file, or "" outside a repository.

    The suffix ``-dirty`` says that files that affect a model differ from the commit.
    """
    commit = _git("rev-parse", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", *_MODEL_SOURCES)
    return f"{commit}-dirty" if commit and changed else commit


def _git(*arguments: str) -> str:
    """Return the output of a git command, or "" if it fails or git is missing."""
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    # Git hooks and `git rebase --exec` name their own repository in the environment, which would take precedence.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment = {**inherited, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        completed = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return completed.stdout.strip() if completed.returncode == 0 else ""
