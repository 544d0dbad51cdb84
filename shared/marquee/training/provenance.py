"""What it takes to make a model again."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from marquee.data import dvc_hash, snapshot
from marquee.data.dataset_files import read_dataset
from marquee.models.ranker_port import choose_ranker
from marquee.registry.manifest import Provenance, Stage
from marquee.training.params import SnapshotParams
from marquee.training.pipeline import pipeline_run, steps

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

_OF_A_MODEL = (":(top)shared", ":(top)params.yaml", ":(top)dvc.yaml")


def collect_provenance(run: pipeline_run.PipelineRun, commit: str = "") -> Provenance:
    """Of a run whose steps are done. ``commit``: where the program is not run from its repository."""
    about = snapshot.read_snapshot(run.at(pipeline_run.SNAPSHOT)).about
    taken_with = SnapshotParams.from_request(run.request, database=about.database)
    stages = {name: _stage(run, step) for name, step in steps.STEPS.items()}
    dataset = read_dataset(run.at(pipeline_run.FEATURES))
    return Provenance(
        trainer=run.params.rating_trainer,
        ranker=choose_ranker(run.params.ranker, run.params.rankers, dataset.n_items),
        parameters=msgspec.structs.replace(run.params, snapshot=taken_with).as_dict(),
        seed=run.params.seed,
        libraries=libraries(),
        commit=commit or git_commit(),
        data={**about.files, "dataset": dataset.sha256()},
        snapshot=stages["snapshot"].outs[pipeline_run.SNAPSHOT],
        stages=stages,
        profile=msgspec.to_builtins(pipeline_run.read_checks(run).profile),
    )


def _stage(run: pipeline_run.PipelineRun, step: steps.PipelineStep) -> Stage:
    read, written = (
        {name: dvc_hash.hash_path(run.at(name)) for name in names} for names in (step.reads, step.writes)
    )
    return Stage(read, written)


def libraries() -> dict[str, str]:
    """The version of Python and of each library that has a say in the numbers."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def git_commit() -> str:
    """The commit of the repository around this file, with ``-dirty`` where files that have a say in a model
    differ from it; "" without one.
    """
    commit = _git("rev-parse", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", *_OF_A_MODEL)
    return f"{commit}-dirty" if commit and changed else commit


def _git(*words: str) -> str:
    """What git says; "" where it has nothing to say, or there is none."""
    command = ["git", "-C", str(Path(__file__).parent), *words]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
