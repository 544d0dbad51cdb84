"""The step ``publish``: store the artifact, let the gate judge it, release it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from math import isfinite

from marquee.data import dvc_remote, snapshot
from marquee.data.dataset_files import read_model
from marquee.errors import ArtifactRefused, ObjectNotFound
from marquee.evaluation.bootstrap import Estimate
from marquee.evaluation.offline import Evaluation
from marquee.evaluation.paired_test import PairedComparison
from marquee.models import cohort_preferences
from marquee.registry import release as releases
from marquee.registry.artifact import write_artifact
from marquee.registry.manifest import Metric, read_manifest
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import Release
from marquee.registry.trained_model import TrainedModel
from marquee.training import provenance, release_policy
from marquee.training.pipeline import pipeline_run
from marquee.training.publication import ExperimentRuns, NewerServes, ServingChanged, refuse_older, release

RELEASED, HELD, TRAINED, REFUSED, FAILED = "released", "held", "trained", "refused", "failed"
_JUDGED_AT_MOST = 5


@dataclass(frozen=True, slots=True)
class RetrainResult:
    """What came of it. ``outcome`` as in ``telemetry.retrainings``; ``reason`` says why, in a sentence.

    ``serving``: the version that it was compared with, "" for none; ``findings``: what the gate saw.
    """

    outcome: str
    reason: str
    version: str | None = None
    trained_through: datetime | None = None
    evaluation: Evaluation | None = None
    serving: str = ""
    compared: tuple[PairedComparison, ...] = ()
    findings: tuple[str, ...] = field(default=())


def whole_model(run: pipeline_run.PipelineRun) -> TrainedModel:
    """The model of everything, with the cohorts that the snapshot's facts tell of: what an artifact holds."""
    return cohort_preferences.with_cohorts(
        read_model(run.at(pipeline_run.WHOLE)),
        snapshot.read_snapshot(run.at(pipeline_run.SNAPSHOT)).base.side_information,
    )


def store_artifact(
    run: pipeline_run.PipelineRun, store: ObjectStore, kept: ObjectStore | None, commit: str
) -> RetrainResult:
    """Keep the snapshot in the remote ``kept``, where there is one, then write the model of the whole.

    In this order: an artifact that is there can be made again.
    """
    if kept is not None:
        dvc_remote.push(kept, run.at(pipeline_run.SNAPSHOT))
    evaluation = pipeline_run.read_evaluation(run)
    version = write_artifact(
        store,
        whole_model(run),
        trained_through=pipeline_run.read_checks(run).profile.newest,
        metrics=manifest_metrics(evaluation),
        groups=_groups(run),
        prediction_intervals=evaluation.prediction_intervals,
        provenance=provenance.collect_provenance(run, commit),
    )
    trained_through = read_manifest(store, version).trained_through
    return RetrainResult(TRAINED, "not to be released", version, trained_through, evaluation)


def evaluate_and_release(
    run: pipeline_run.PipelineRun, store: ObjectStore, result: RetrainResult, *, releasing: bool, reason: str
) -> RetrainResult:
    """The gate, and where it opens the release; done again when another release comes in between."""
    for _ in range(_JUDGED_AT_MOST):
        before = _current(store)
        try:
            if releasing:
                _refuse_in_vain(before, result)
            result = _compared(run, store, result, before)
            drift = pipeline_run.read_checks(run).drift
            against = [
                *release_policy.faults(store, result.version or ""),
                *release_policy.objections(result.compared, drift),
            ]
            if against:
                return replace(result, outcome=REFUSED, reason="; ".join(against))
            return _released(store, result, reason) if releasing else result
        except ServingChanged:
            continue
        except ExperimentRuns as error:
            return replace(result, outcome=HELD, reason=str(error))
        except (NewerServes, ArtifactRefused) as error:
            return replace(result, outcome=REFUSED, reason=str(error))
    return replace(result, outcome=REFUSED, reason="what serves changed again and again while it was judged")


def manifest_metrics(evaluation: Evaluation) -> dict[str, Metric]:
    """``rmse`` of the model, ``bias_only.rmse`` of a baseline, and so on."""
    return {
        name if candidate == "model" else f"{candidate}.{name}": _metric(figure)
        for candidate, figures in evaluation.figures.items()
        for name, figure in figures.items()
    }


def flat_metrics(result: RetrainResult) -> dict[str, float]:
    """``rmse``, ``rmse.low``, ``bias_only.rmse``, ``less_serving.rmse`` and so on, those that are numbers."""
    named: dict[str, tuple[float | None, ...]] = {}
    if result.evaluation:
        for name, metric in manifest_metrics(result.evaluation).items():
            named[name] = (metric.value, metric.low, metric.high)
    for found in result.compared:
        named[f"less_{found.against}.{found.metric}"] = (found.difference, found.low, found.high)
    pairs = (
        (name + end, value)
        for name, values in named.items()
        for end, value in zip(("", ".low", ".high"), values, strict=True)
    )
    return {name: value for name, value in pairs if value is not None and isfinite(value)}


def _refuse_in_vain(before: Release | None, result: RetrainResult) -> None:
    """Before time is spent on comparing."""
    if before and len(before.arms) == 1:
        refuse_older(before, result.version or "")


def _compared(
    run: pipeline_run.PipelineRun, store: ObjectStore, result: RetrainResult, before: Release | None
) -> RetrainResult:
    """Against the baselines, and against what serves: of an experiment its first arm, the control."""
    compared, notes = pipeline_run.read_comparisons(run), list(pipeline_run.read_checks(run).drift)
    serving = before.arms[0].version if before else ""
    if serving and serving != result.version:
        try:
            compared += release_policy.against_serving(run, store, serving)
        except (ObjectNotFound, ArtifactRefused) as error:  # Whatever serves by now, it is not this one.
            notes.append(f"not compared with {serving}, which cannot serve: {error}")
    findings = (*map(str, compared), *notes)
    return replace(result, serving=serving, compared=tuple(compared), findings=findings)


def _released(store: ObjectStore, result: RetrainResult, reason: str) -> RetrainResult:
    assert result.version
    serves = release(store, result.version, author="retrain", reason=reason, instead_of=result.serving or "")
    return replace(result, outcome=RELEASED, reason=f"release {serves.number}: {serves.reason}")


def _current(store: ObjectStore) -> Release | None:
    try:
        return releases.read_current_release(store)[0]
    except ObjectNotFound:
        return None


def _groups(run: pipeline_run.PipelineRun) -> dict[str, dict[str, Metric]]:
    return {
        kind: {group: _metric(figure) for group, figure in figures.items()}
        for kind, figures in pipeline_run.read_fairness(run).rmse.items()
    }


def _metric(figure: Estimate) -> Metric:
    return Metric(figure.value, figure.low, figure.high)
