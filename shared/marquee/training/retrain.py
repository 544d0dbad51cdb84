"""One retraining from end to end: collect, check, train, evaluate, store, judge, release, record."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path

import msgspec

from marquee.artifacts.object_store import ObjectStore
from marquee.errors import ArtifactRefused, MarqueeError
from marquee.evaluation.offline import Evaluation
from marquee.telemetry.database import Database
from marquee.telemetry.retrainings import Retraining, record
from marquee.training import gate, provenance, steps
from marquee.training.fit import fit
from marquee.training.params import Params
from marquee.training.publication import NewerServes, release
from marquee.training.trainer import Progress, silent

RELEASED, TRAINED, REFUSED, FAILED = "released", "trained", "refused", "failed"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it. ``outcome`` as in ``telemetry.retrainings``; ``reason`` says why, in a sentence."""

    outcome: str
    reason: str
    version: str | None = None
    trained_through: datetime | None = None
    evaluation: Evaluation | None = None


def retrain(
    request: steps.Request,
    params: Params,
    store: ObjectStore,
    database: Database | None = None,
    *,
    reason: str = "",
    releasing: bool = True,
    commit: str = "",
    progress: Progress = silent,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Result:
    """Run every step; whatever happens is recorded in the database, where there is one.

    A refusal is a result; a failure is recorded and then raised. ``commit``: of the program, where it does
    not run in its repository. Several retrainings may run at once.
    """
    started = clock()
    run = f"{started:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
    result = Result(FAILED, "it was stopped")
    try:
        result = _trained(request, params, store, database, commit, progress)
        if result.outcome == TRAINED and releasing:
            result = _released(store, result, reason or f"retraining {run}")
        return result
    except Exception as error:
        result = replace(result, outcome=FAILED, reason=f"{type(error).__name__}: {error}")
        raise
    finally:
        _record(database, run, started, clock(), result)


def _trained(
    request: steps.Request,
    params: Params,
    store: ObjectStore,
    database: Database | None,
    commit: str,
    progress: Progress,
) -> Result:
    """An artifact of everything, judged by a model of all but the newest slice."""
    progress("collect", 0.0)
    snapshot = steps.check(steps.collect(request, database, params), request, params)
    progress("collect", 1.0)
    evaluation = steps.train_and_evaluate(snapshot, params, progress)
    model = fit(snapshot.dataset, params, progress)
    origin = provenance.of(params, snapshot.hashes, commit)
    version = steps.store_artifact(store, model, snapshot, evaluation, origin)
    objections = gate.objections(evaluation)
    outcome, reason = (REFUSED, "; ".join(objections)) if objections else (TRAINED, "not to be released")
    return Result(outcome, reason, version, snapshot.trained_through, evaluation)


def _released(store: ObjectStore, result: Result, reason: str) -> Result:
    assert result.version
    try:
        serves = release(store, result.version, author="retrain", reason=reason)
    except (NewerServes, ArtifactRefused) as error:
        return replace(result, outcome=REFUSED, reason=str(error))
    return replace(result, outcome=RELEASED, reason=f"release {serves.number}: {serves.reason}")


def _record(
    database: Database | None, run: str, started: datetime, finished: datetime, result: Result
) -> None:
    if database is None:
        return
    row = Retraining(
        run=run,
        started=started,
        finished=finished,
        trained_through=result.trained_through,
        version=result.version,
        outcome=result.outcome,
        reason=result.reason,
        metrics=_flat(result.evaluation) if result.evaluation else {},
    )
    try:
        record(database, row)
    except MarqueeError as error:  # What was released serves, whether or not this row exists.
        _log.error("the retraining %s (%s) could not be recorded: %s", run, result.outcome, error)


def _flat(evaluation: Evaluation) -> dict[str, float]:
    """``rmse``, ``rmse.low``, ``rmse.high``, ``bias_only.rmse`` and so on; what is no number is left out."""
    flat: dict[str, float] = {}
    for name, metric in steps.manifest_metrics(evaluation).items():
        for key, value in ((name, metric.value), (f"{name}.low", metric.low), (f"{name}.high", metric.high)):
            if value is not None and isfinite(value):
                flat[key] = value
    return flat


def write_report(evaluation: Evaluation, path: Path) -> None:
    """The evaluation as JSON, for DVC's metrics and for people."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(evaluation), indent=2) + b"\n")
