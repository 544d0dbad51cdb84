"""Pipeline step ``publish``: store the artifact, decide on its release, release it and report.

:mod:`marquee.training.release_policy` decides; this module collects the evidence and does the writing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from math import isfinite
from typing import TYPE_CHECKING

from marquee.data import dvc_remote, snapshot, stored_snapshots
from marquee.data.dataset_files import read_model
from marquee.errors import ArtifactRefused, ObjectNotFound, ObjectStoreError, ReleaseError, TransientError
from marquee.evaluation.group_fairness import manifest_values
from marquee.evaluation.offline import OfflineEvaluation
from marquee.evaluation.paired_test import PairedComparison
from marquee.experiments.declaration import Declaration
from marquee.experiments.lifecycle import start
from marquee.models import cohort_preferences
from marquee.registry.arm_assignment import Arm, inherit_policies
from marquee.registry.artifact import write_artifact
from marquee.registry.experiment_steps import ReleaseChanged
from marquee.registry.gate_report import GateReport, store_report
from marquee.registry.manifest import Metric, read_manifest
from marquee.registry.movie_metadata import collect_metadata
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import Release, find_last_release, new_release, publish_release
from marquee.registry.rollout import CONTROL
from marquee.registry.trained_model import TrainedModel
from marquee.training import provenance, release_policy
from marquee.training.pipeline.check_step import read_checks
from marquee.training.pipeline.evaluate_step import read_comparisons, read_evaluation
from marquee.training.pipeline.fairness_step import read_fairness
from marquee.training.pipeline.pipeline_run import FULL_MODEL, SNAPSHOT, PipelineRun
from marquee.training.pipeline.tune_step import read_choice
from marquee.training.release_policy import REFUSED, RELEASED, TRAINED, Evidence
from marquee.training.serving_comparison import compare_with_serving
from marquee.training.tuning import select_section

if TYPE_CHECKING:
    from marquee.training.pipeline.step_journal import StepUsage

_MAX_DECISIONS = 5
_log = logging.getLogger(__name__)


class ServingChanged(ReleaseError):
    """Another release was published after the decision."""


@dataclass(frozen=True, slots=True)
class RetrainResult:
    """Result of a retraining. ``outcome`` and ``reason`` are those of ``db.retrain_runs.RetrainRun``.

    ``serving``: the version that the model was compared with, "" for none. ``findings``: comparisons, drift
    and notes, as sentences. ``usage``: time and memory of each step that ran.
    """

    outcome: str
    reason: str
    version: str | None = None
    trained_through: datetime | None = None
    evaluation: OfflineEvaluation | None = None
    serving: str = ""
    comparisons: tuple[PairedComparison, ...] = ()
    findings: tuple[str, ...] = ()
    usage: Mapping[str, StepUsage] = field(default_factory=dict)


def load_full_model(run: PipelineRun) -> TrainedModel:
    """Load the model of all data, with the cohorts and the metadata of the snapshot's side information."""
    side_information = snapshot.read_side_information(run.path(SNAPSHOT))
    chosen = select_section(read_choice(run).chosen, "cohorts")
    allowed = side_information.limited_to(run.params.data.user_attributes)
    model = cohort_preferences.with_cohorts(read_model(run.path(FULL_MODEL)), allowed, **chosen)
    return replace(model, metadata=collect_metadata(model.movie_ids, side_information.movies))


def store_artifact(run: PipelineRun, store: ObjectStore, remote: ObjectStore | None, commit: str) -> RetrainResult:
    """Push the snapshot to the DVC remote, if there is one, then write the full model as an artifact.

    The order guarantees that every stored artifact can be reproduced, except those of ``engine: spark``, which keeps no
    snapshot.
    """
    if remote is not None and run.engine is None:
        dvc_remote.push(remote, run.path(SNAPSHOT))
    evaluation = read_evaluation(run)
    model, users = (load_full_model(run), None) if run.engine is None else run.engine.load_full_model(run)
    version = write_artifact(
        store,
        model,
        users=users,
        trained_through=read_checks(run).profile.newest,
        metrics=manifest_metrics(evaluation) | manifest_values(read_fairness(run)),
        groups=_group_metrics(run),
        prediction_intervals=evaluation.prediction_intervals,
        provenance=provenance.collect_provenance(run, commit),
    )
    trained_through = read_manifest(store, version).trained_through
    return RetrainResult(TRAINED, "stored", version, trained_through, evaluation)


def publish_artifact(
    run: PipelineRun,
    store: ObjectStore,
    stored: RetrainResult,
    *,
    run_name: str,
    time: datetime,
    reason: str,
    releasing: bool,
    force: bool = False,
    canary: Declaration | None = None,
) -> RetrainResult:
    """Decide on the stored artifact, release it if the decision says so, and write the gate report.

    ``run_name`` and ``time`` identify the report; ``reason`` is recorded in the release. With ``releasing`` false,
    the model is evaluated and not released. ``force`` releases although a rollback has paused
    automatic releases. ``canary`` is the experiment that releases it, if a model serves already.
    """
    assert stored.version
    version, decision = stored.version, None
    fault = release_policy.find_fault(store, version)
    for _ in range(_MAX_DECISIONS):  # Again, if another release was published in between.
        current = find_last_release(store)
        serving = current.arms[0].version if current else ""  # The control arm of an experiment.
        collect = partial(collect_evidence, run, store, version, serving, fault)
        decision = release_policy.decide_release(version, current, collect, releasing=releasing, force=force)
        if decision.outcome != RELEASED:
            break
        try:
            decision = replace(decision, reason=_release(store, version, current, reason, canary))
            break
        except (ServingChanged, ReleaseChanged):
            continue
    else:
        assert decision
        changed = f"what serves changed {_MAX_DECISIONS} times while {version} was evaluated; retrain again"
        decision = replace(decision, outcome=REFUSED, reason=changed)
    described = describe_evidence(stored, decision.evidence)
    result = replace(described, outcome=decision.outcome, reason=decision.reason)
    store_gate_report(store, run_name, time, result)
    return result


def store_gate_report(store: ObjectStore, run_name: str, time: datetime, result: RetrainResult) -> None:
    """Write the gate report of a stored artifact, whose differences are the comparisons that have one."""
    assert result.version
    # JSON has no other numbers than finite ones.
    decided = [c for c in result.comparisons if isfinite(c.difference)]
    report = GateReport(
        version=result.version,
        run=run_name,
        time=time,
        outcome=result.outcome,
        reason=result.reason,
        serving=result.serving,
        findings=result.findings,
        differences={f"{c.baseline}.{c.metric}": Metric(c.difference, c.low, c.high) for c in decided},
    )
    store_report(store, report)


def describe_evidence(stored: RetrainResult, evidence: Evidence) -> RetrainResult:
    """Return the result with the comparisons and findings of the evidence."""
    return replace(
        stored,
        serving=evidence.serving,
        comparisons=evidence.comparisons,
        findings=(*map(str, evidence.comparisons), *evidence.drift, *evidence.notes),
    )


def expire_snapshots(store: ObjectStore, remote: ObjectStore, before: datetime) -> None:
    """Delete old snapshots from the DVC remote (:mod:`marquee.data.stored_snapshots`), but those of serving models.

    A failure is only logged: the next retraining tries again.
    """
    try:
        release = find_last_release(store)
        serving = {read_manifest(store, arm.version).provenance.snapshot for arm in _arms(release)}
        expired = stored_snapshots.expire_snapshots(remote, before, serving)
    except (ArtifactRefused, ObjectNotFound, ObjectStoreError, TransientError) as error:
        _log.warning("old snapshots were not deleted: %s", error)
        return
    if expired:
        _log.info("%d snapshots from before %s were deleted", expired, f"{before:%Y-%m-%d}")


def release_instead_of(
    store: ObjectStore, version: str, expected: Release | None, *, author: str, reason: str
) -> Release:
    """Serve ``version`` to all users in one compare-and-swap, in place of the arms of ``expected``.

    If ``version`` serves all users already, nothing is published. Raises :class:`ServingChanged` if other
    arms serve than those of ``expected``.
    """
    plain_arms = (Arm(CONTROL, version, 1.0),)

    def change(current: Release | None) -> Release:
        if _arms(current) != _arms(expected):
            raise ServingChanged(
                f"{_describe(current)} serves, not {_describe(expected)}, for which {version} was evaluated; "
                "evaluate it again"
            )
        arms = inherit_policies(plain_arms, current.arms) if current else plain_arms
        if current is not None and current.arms == arms:
            return current
        return new_release(arms, author=author, reason=reason, after=current)

    return publish_release(store, change)


def manifest_metrics(evaluation: OfflineEvaluation) -> dict[str, Metric]:
    """Return the metrics by the manifest's names: ``rmse`` of the model, ``bias_only.rmse`` of a baseline."""
    return {
        name if candidate == "model" else f"{candidate}.{name}": metric
        for candidate, metrics in evaluation.metrics.items()
        for name, metric in metrics.items()
    }


def _release(store: ObjectStore, version: str, current: Release | None, reason: str, canary: Declaration | None) -> str:
    """Release the model, or start its canary; return what was released in one sentence."""
    if canary is None or current is None or current.arms[0].version == version:
        release = release_instead_of(store, version, current, author="retrain", reason=reason)
        return f"release {release.number}: {release.reason}"
    started = start(store, canary, version=version, author="retrain", reason=reason, expected=current)
    share = started.enrolled / len(started.arms)
    return f"release {started.number}, canary {started.experiment} for {share:.4g} of the users: {started.reason}"


def collect_evidence(run: PipelineRun, store: ObjectStore, version: str, serving: str, fault: str) -> Evidence:
    """Compare the model with the baselines, and with the version ``serving``, "" for none."""
    comparisons, notes = read_comparisons(run), []
    if serving and serving != version:
        try:
            compare = compare_with_serving if run.engine is None else run.engine.compare_with_serving
            comparisons += compare(run, store, serving)
        except (ObjectNotFound, ArtifactRefused) as error:
            notes.append(f"not compared with {serving}, which cannot serve: {error}")
    drift = tuple(read_checks(run).drift)
    return Evidence(fault, tuple(comparisons), drift, serving, tuple(notes))


def _arms(release: Release | None) -> tuple[Arm, ...]:
    return release.arms if release else ()


def _describe(release: Release | None) -> str:
    return ", ".join(arm.version for arm in _arms(release)) or "nothing"


def _group_metrics(run: PipelineRun) -> dict[str, dict[str, Metric]]:
    return {
        kind: {name: group.rmse for name, group in groups.items()} for kind, groups in read_fairness(run).groups.items()
    }
