"""A retraining from end to end: the pipeline steps, the release and the record of the run."""

from __future__ import annotations

import hashlib
import logging
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from marquee.config.file_lock import file_lock
from marquee.data.interaction_frames import distinct_ids
from marquee.data.snapshot import SnapshotRequest, read_snapshot
from marquee.db import retrain_queue
from marquee.db.pool import Database
from marquee.db.privacy_marks import NO_MARKS, MarkReader, is_pseudonym
from marquee.db.retrain_runs import RetrainRun, record_run
from marquee.errors import (
    MarqueeError,
    TooFewRatings,
    TrainingDataError,
    TransientError,
    WorkingDirectoryUnwritable,
)
from marquee.experiments.declaration import Declaration
from marquee.models.trainer_port import ProgressCallback, no_progress
from marquee.registry.object_store.object_store import ObjectStore
from marquee.training.params import SPARK, Params
from marquee.training.pipeline import steps
from marquee.training.pipeline.code_fingerprint import encode_fingerprint, fingerprint_steps
from marquee.training.pipeline.pipeline_run import SNAPSHOT, PipelineRun
from marquee.training.pipeline.publish_step import (
    RetrainResult,
    expire_snapshots,
    manifest_metrics,
    publish_artifact,
    store_artifact,
)
from marquee.training.pipeline.step_journal import StepJournal, StepUsage, measure_usage

if TYPE_CHECKING:
    from marquee.training.cluster.spark_engine import SparkEngine

FAILED, WAITING = "failed", "waiting"
RUN = "run"
"""Directory of the steps' files in the working directory of a resumable run."""

_log = logging.getLogger(__name__)


def retrain(
    request: SnapshotRequest,
    params: Params,
    store: ObjectStore,
    database: Database | None = None,
    *,
    remote: ObjectStore | None = None,
    snapshot_days: int | None = None,
    prepared: Path | None = None,
    work: Path | None = None,
    reason: str = "",
    releasing: bool = True,
    force: bool = False,
    canary: Declaration | None = None,
    commit: str = "",
    privacy_key: str = "",
    movies_url: str = "",
    objects_url: str = "",
    progress: ProgressCallback = no_progress,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> RetrainResult:
    """Run the pipeline, release the model if the policy allows it, and record the run in the database.

    ``force`` releases although a rollback has paused automatic releases. ``canary`` declares how the model is
    released; without it or without ``database``, whose rows steer a canary, all users get it at once. ``remote`` is a
    DVC remote for the snapshot, where it expires after ``snapshot_days`` (None: never). ``prepared`` is a directory
    in which ``dvc repro`` has already run the steps. ``work`` is a directory that keeps the steps' files until the
    run ends, so that the next run with the same inputs resumes one that was killed. ``commit`` identifies the program
    if it does not run in its repository. ``privacy_key`` recognizes the users whom the model must not learn from; one
    who is forgotten meanwhile fails the run. ``movies_url`` is the movie service that describes movies
    (:mod:`marquee.data.catalog_feed`), and ``objects_url`` the URL of ``store`` for the workers of ``engine: spark``.
    Concurrent retrainings are safe.

    A refusal is a result, and so is :data:`WAITING`: there are no base data, and the database holds too few ratings
    to learn from. Any exception is recorded as a failure and raised again.
    """
    started = clock()
    name = f"{started:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
    result = RetrainResult(FAILED, "it was stopped")
    usage: dict[str, StepUsage] = {}
    resumable = prepared is None and work is not None
    try:
        # A request of a run that is killed is open again after its lease.
        requested = "; ".join(retrain_queue.claim(database, name, started)) if database else ""
        with _working_directory(prepared, work) as root, _engine(params, objects_url, root, resumable) as engine:
            run = PipelineRun(
                root, params, request, progress, database, store, privacy_key, resumable, movies_url, remote, engine
            )
            if prepared is None:
                usage |= _run_steps(run).steps
            check_marks(run)

            def publish() -> None:
                nonlocal result
                result = store_artifact(run, store, remote, commit)
                result = publish_artifact(
                    run,
                    store,
                    result,
                    run_name=name,
                    time=started,
                    reason=reason or requested or f"retraining {name}",
                    releasing=releasing,
                    force=force,
                    canary=canary if database else None,
                )
                if remote is not None and snapshot_days is not None:
                    expire_snapshots(store, remote, started - timedelta(days=snapshot_days))

            usage["publish"] = measure_usage(publish)
        return replace(result, usage=usage)
    except TooFewRatings as error:
        if request.base is not None:
            result = replace(result, outcome=FAILED, reason=f"{type(error).__name__}: {error}")
            raise
        result = RetrainResult(WAITING, f"nothing to learn from yet: {error}")
        return result
    except Exception as error:
        result = replace(result, outcome=FAILED, reason=f"{type(error).__name__}: {error}")
        raise
    finally:
        record_result(database, name, started, clock(), replace(result, usage=usage))


@contextmanager
def _working_directory(prepared: Path | None, work: Path | None) -> Iterator[Path]:
    """Yield ``prepared``, or ``work``, or a temporary directory that is deleted afterwards.

    The content of ``work`` is deleted as well, unless the process was stopped or a retry may help.
    """
    if prepared is not None:
        yield prepared
        return
    if work is not None:
        with _exclusive(work) as root:
            yield root
        return
    with ExitStack() as stack:
        try:
            temporary = tempfile.TemporaryDirectory(prefix="marquee-retrain-")
            directory = stack.enter_context(temporary)
        except OSError as error:
            raise _unwritable(tempfile.gettempdir() if tempfile.tempdir else "TMPDIR", error) from error
        yield Path(directory)


def _engine(
    params: Params, objects_url: str, root: Path, resumable: bool
) -> AbstractContextManager[SparkEngine | None]:
    if params.engine != SPARK:
        return nullcontext()
    from marquee.training.cluster.spark_engine import open_engine

    return open_engine(params, objects_url, root, resumable=resumable)


@contextmanager
def _exclusive(work: Path) -> Iterator[Path]:
    """Yield the directory of the steps' files in ``work``, for one run at a time."""
    root = work / RUN
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(str(work), error) from error
    with file_lock(work / ".lock"):
        try:
            yield root
        except TransientError:
            raise
        except Exception:
            shutil.rmtree(root, ignore_errors=True)
            raise
        shutil.rmtree(root, ignore_errors=True)


def _run_steps(run: PipelineRun) -> StepJournal:
    """Run the steps in this process. Other errors of files than a full disk are translated where they enter."""
    try:
        return steps.run_all(run, _digest_code() if run.resumable else "")
    except OSError as error:
        raise _unwritable(str(run.root), error) from error


def check_marks(run: PipelineRun) -> None:
    """Raise :class:`TrainingDataError` if the snapshot has a user who was marked since, or an id that was replaced."""
    marks = MarkReader(run.privacy_key).read(run.database) if run.database else NO_MARKS
    if not (marks or marks.pseudonyms):
        return
    if run.engine is not None:
        run.engine.refuse_marked(run, marks)
        return
    taken = read_snapshot(run.path(SNAPSHOT))
    frames = (taken.base.ratings, taken.live.ratings, taken.live.watch_sessions)
    users = [*distinct_ids(frames, "user_id"), *taken.base.side_information.users]
    if marks.find(users):
        raise TrainingDataError("a user of the snapshot was forgotten while the model was trained: train again")
    if marks.pseudonyms and not all(map(is_pseudonym, users)):
        raise TrainingDataError("user ids were replaced by pseudonyms while the model was trained: train again")


def _digest_code() -> str:
    digest = hashlib.sha256()
    for fingerprint in fingerprint_steps().values():
        digest.update(encode_fingerprint(fingerprint))
    return digest.hexdigest()


def _unwritable(directory: str, error: OSError) -> WorkingDirectoryUnwritable:
    return WorkingDirectoryUnwritable(
        f"the files of the retraining cannot be written to {directory} ({error}): free some space, or set TMPDIR to "
        "a directory on a larger disk (about 100 bytes a rating are needed)"
    )


def record_result(
    database: Database | None, name: str, started: datetime, finished: datetime, result: RetrainResult
) -> None:
    """Record the run. An error is only logged: the release is valid without the record."""
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
        metrics=_run_metrics(result),
    )
    try:
        record_run(database, row)
    except MarqueeError as error:
        _log.error("retraining %s (%s) was not recorded: %s", name, result.outcome, error)


def _run_metrics(result: RetrainResult) -> dict[str, float]:
    """Return all finite metrics: ``rmse``, ``rmse.low``, ``bias_only.rmse``, ``difference.serving.rmse``...

    ``step.train.seconds``, ``step.train.peak_mb`` and so on are what each step took.
    """
    estimates: dict[str, tuple[float | None, ...]] = {}
    if result.evaluation:
        for name, metric in manifest_metrics(result.evaluation).items():
            estimates[name] = (metric.value, metric.low, metric.high)
    for c in result.comparisons:
        estimates[f"difference.{c.baseline}.{c.metric}"] = (c.difference, c.low, c.high)
    for name, usage in result.usage.items():
        estimates[f"step.{name}.seconds"] = (usage.seconds,)
        estimates[f"step.{name}.cpu_seconds"] = (usage.cpu_seconds,)
        estimates[f"step.{name}.peak_mb"] = (usage.peak_mb,)
    return {
        name + end: value
        for name, values in estimates.items()
        for end, value in zip(("", ".low", ".high"), values, strict=False)
        if value is not None and isfinite(value)
    }
