"""Retraining during an experiment of recipes: each arm's recipe on one snapshot, and one write for all.

No user changes arms, and the sums of an arm go on over its versions. If one arm has no good model, all keep theirs:
arms that learned from different days would not differ by their recipes alone.
"""

from __future__ import annotations

import logging
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from marquee.data.snapshot import SnapshotRequest
from marquee.db import retrain_queue
from marquee.db.pool import Database
from marquee.errors import ReleaseError, SettingsError
from marquee.experiments.declaration import Declaration
from marquee.models.trainer_port import ProgressCallback, no_progress
from marquee.registry.experiment_steps import replace_versions
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import Release
from marquee.training import release_policy
from marquee.training.params import Params
from marquee.training.pipeline import steps
from marquee.training.pipeline.pipeline_run import PipelineRun
from marquee.training.pipeline.publish_step import (
    RetrainResult,
    collect_evidence,
    describe_evidence,
    store_artifact,
    store_gate_report,
)
from marquee.training.release_policy import HELD, REFUSED, RELEASED
from marquee.training.retrain import FAILED, check_marks, record_result

SECTIONS = ("seed", "trainer", "trainers", "ranker", "rankers", "popularity", "tuning")
"""Sections of params.yaml that a recipe may change. All arms have the same data, holdout and gate."""
_SNAPSHOT = "snapshot"
_log = logging.getLogger(__name__)


def apply_recipe(params: Params, recipe: Mapping[str, Any], name: str) -> Params:
    """Return the parameters with the recipe's values in place of their own.

    Raises :class:`SettingsError` for a section that a recipe may not change, and as :meth:`Params.parse`.
    """
    if unknown := sorted(set(recipe) - set(SECTIONS)):
        raise SettingsError(f"recipe {name}: {', '.join(unknown)} cannot differ; valid are {', '.join(SECTIONS)}")
    return Params.parse(msgspec.yaml.encode(_merge(params.as_dict(), recipe)), f"recipe {name}")


def retrain_recipes(
    request: SnapshotRequest,
    params: Params,
    store: ObjectStore,
    database: Database | None,
    running: Release,
    declaration: Declaration,
    *,
    remote: ObjectStore | None = None,
    reason: str = "",
    commit: str = "",
    privacy_key: str = "",
    movies_url: str = "",
    progress: ProgressCallback = no_progress,
) -> dict[str, RetrainResult]:
    """Train the recipe of each arm of ``running``, and replace all versions or none; return the results by arm.

    Each run is recorded in the database. Any exception is recorded as a failure of all arms and raised again.
    """
    started = datetime.now(UTC)
    name = f"{started:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
    recipes = {arm.name: apply_recipe(params, declaration.recipes.get(arm.name, {}), arm.name) for arm in running.arms}
    results = {arm: RetrainResult(FAILED, "it was stopped") for arm in recipes}
    try:
        claimant = f"{name}-{running.arms[0].name}"  # A request is closed by the record of this name.
        requested = "; ".join(retrain_queue.claim(database, claimant, started)) if database else ""
        with tempfile.TemporaryDirectory(prefix="marquee-retrain-") as directory:
            runs = {
                arm: PipelineRun(
                    Path(directory) / arm, own, request, progress, database, store, privacy_key, movies_url=movies_url
                )
                for arm, own in recipes.items()
            }
            _run_steps(list(runs.values()))
            check_marks(runs[running.arms[0].name])
            results = {arm: store_artifact(run, store, remote, commit) for arm, run in runs.items()}
            results = {arm.name: _judge(runs[arm.name], store, results[arm.name], arm.version) for arm in running.arms}
            why = reason or requested or f"retraining {name} of all recipes"
            results = _replace_all(store, running, results, why)
        for arm, result in results.items():
            store_gate_report(store, f"{name}-{arm}", started, result)
        return results
    except Exception as error:
        failure = f"{type(error).__name__}: {error}"
        results = {arm: replace(result, outcome=FAILED, reason=failure) for arm, result in results.items()}
        raise
    finally:
        for arm, result in results.items():
            record_result(database, f"{name}-{arm}", started, datetime.now(UTC), result)


def _run_steps(runs: list[PipelineRun]) -> None:
    """Run the steps of each arm on the snapshot of the first."""
    first = runs[0]
    for run in runs:
        run.root.mkdir()
        if run is not first:
            for file in steps.STEPS[_SNAPSHOT].writes:
                _copy(first.path(file), run.path(file))
        steps.run_all(run, done=() if run is first else (_SNAPSHOT,))


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    elif source.exists():
        shutil.copy2(source, target)


def _judge(run: PipelineRun, store: ObjectStore, stored: RetrainResult, predecessor: str) -> RetrainResult:
    """Return the result with the gate's decision: the new model of an arm against the one before it."""
    assert stored.version
    evidence = collect_evidence(
        run, store, stored.version, predecessor, release_policy.find_fault(store, stored.version)
    )
    objections = release_policy.list_objections(evidence)
    if release_policy.is_older(stored.version, predecessor):
        objections.insert(0, f"the arm serves {predecessor}, of newer events")
    return replace(
        describe_evidence(stored, evidence),
        outcome=REFUSED if objections else RELEASED,
        reason="; ".join(objections) or "no objections",
    )


def _replace_all(
    store: ObjectStore, running: Release, results: dict[str, RetrainResult], reason: str
) -> dict[str, RetrainResult]:
    """Replace the versions of all arms in one write, if every new model is good and the experiment goes on."""
    refused = [arm for arm, result in results.items() if result.outcome == REFUSED]
    outcome, why = HELD, f"{', '.join(refused)} has no good model, so all arms of {running.experiment} keep theirs"
    if not refused:
        try:
            release = replace_versions(
                store,
                running,
                {arm: str(result.version) for arm, result in results.items()},
                author="retrain",
                reason=reason,
            )
            outcome, why = RELEASED, f"release {release.number}, all arms of {running.experiment}: {release.reason}"
        except ReleaseError as error:
            _log.warning("the models of %s are not released: %s", running.experiment, error)
            why = str(error)
    return {
        arm: result if result.outcome == REFUSED else replace(result, outcome=outcome, reason=why)
        for arm, result in results.items()
    }


def _merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with the values of ``changes``, mappings within mappings likewise."""
    merged = dict(base)
    for name, value in changes.items():
        inner = merged.get(name)
        merged[name] = _merge(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return merged
