"""One retraining from end to end: the steps, the artifact, the gate, the release, the record."""

from __future__ import annotations

import logging
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from marquee.data.snapshot import SnapshotRequest
from marquee.db import retrain_queue
from marquee.db.pool import Database
from marquee.db.retrain_runs import RetrainRun, record_run
from marquee.errors import MarqueeError
from marquee.models.trainer_port import Progress, no_progress
from marquee.registry.gate_report import GateReport, store_report
from marquee.registry.object_store.object_store import ObjectStore
from marquee.training.params import Params
from marquee.training.pipeline import pipeline_run, steps
from marquee.training.publish import FAILED, RetrainResult, evaluate_and_release, flat_metrics, store_artifact

_log = logging.getLogger(__name__)


def retrain(
    request: SnapshotRequest,
    params: Params,
    store: ObjectStore,
    database: Database | None = None,
    *,
    remote: ObjectStore | None = None,
    prepared: Path | None = None,
    reason: str = "",
    releasing: bool = True,
    commit: str = "",
    progress: Progress = no_progress,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> RetrainResult:
    """Run every step; whatever happens is recorded in the database, where there is one.

    A refusal is a result; a failure is recorded and then raised. ``remote``: a DVC remote that keeps the
    snapshot. ``prepared``: the directory in which ``dvc repro`` has run the steps already. ``commit``: of the
    program, where it does not run in its repository. Several retrainings may run at once.
    """
    started = clock()
    name = f"{started:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
    result = RetrainResult(FAILED, "it was stopped")
    try:
        asked_for = _asked_for(database, name, started)
        with _directory(prepared) as root:
            run = pipeline_run.PipelineRun(root, params, request, database, store, progress)
            if prepared is None:
                steps.run_all(run)
            result = store_artifact(run, store, remote, commit)
            result = evaluate_and_release(
                run, store, result, releasing=releasing, reason=reason or asked_for or f"retraining {name}"
            )
            _keep(store, name, started, result)
        return result
    except Exception as error:
        result = replace(result, outcome=FAILED, reason=f"{type(error).__name__}: {error}")
        raise
    finally:
        _record(database, name, started, clock(), result)


@contextmanager
def _directory(prepared: Path | None) -> Iterator[Path]:
    """Where the steps' files are; what was not there before goes when the run is over."""
    if prepared is not None:
        yield prepared
        return
    with tempfile.TemporaryDirectory(prefix="marquee-retrain-") as made:
        yield Path(made)


def _asked_for(database: Database | None, name: str, now: datetime) -> str:
    """Answer what the monitor has asked for, and say what that was. If this run is killed, another will."""
    return "; ".join(retrain_queue.claim(database, name, now)) if database else ""


def _keep(store: ObjectStore, name: str, time: datetime, result: RetrainResult) -> None:
    assert result.version
    store_report(
        store,
        GateReport(
            version=result.version,
            run=name,
            time=time,
            outcome=result.outcome,
            reason=result.reason,
            serving=result.serving,
            findings=result.findings,
        ),
    )


def _record(
    database: Database | None, name: str, started: datetime, finished: datetime, result: RetrainResult
) -> None:
    if database is None:
        return
    row = RetrainRun(
        run=name,
        started=started,
        finished=finished,
        trained_through=result.trained_through,
        version=result.version,
        outcome=result.outcome,
        reason=result.reason,
        metrics=flat_metrics(result),
    )
    try:
        record_run(database, row)
    except MarqueeError as error:  # What was released serves, whether or not this row exists.
        _log.error("the retraining %s (%s) could not be recorded: %s", name, result.outcome, error)
