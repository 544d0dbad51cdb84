"""``marquee pipeline STEP``: one step of the retraining pipeline, as dvc.yaml runs it."""

from __future__ import annotations

import argparse
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from marquee.cli.progress_bar import progress_bar
from marquee.cli.retrain_report import print_result
from marquee.config.blas_threads import limit_blas_threads
from marquee.config.settings import Settings
from marquee.db.pool import Database
from marquee.registry.object_store.connect import connect

if TYPE_CHECKING:
    from marquee.models.trainer_port import ProgressCallback
    from marquee.training.params import Params
    from marquee.training.pipeline.pipeline_run import PipelineRun

CODE, PUBLISH = "code", "publish"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the name of the step."""
    parser.epilog = (
        "Reads params.yaml and works on the files in the working directory; `dvc repro` runs all steps. "
        "`code` writes the fingerprints of the steps' code."
    )
    parser.add_argument("step", help="code, snapshot, check, features, tune, train, evaluate, fairness or publish")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Run one step in the working directory."""
    if args.step == CODE:
        from marquee.training.pipeline.code_fingerprint import write_fingerprints

        write_fingerprints(Path())
        return 0
    limit_blas_threads()
    from marquee.errors import SettingsError
    from marquee.training.params import Params
    from marquee.training.pipeline import steps

    params = Params.read(Path("params.yaml"))
    if args.step == PUBLISH:
        return _publish(params, settings)
    if args.step not in steps.STEPS:
        names = ", ".join((CODE, *steps.STEPS, PUBLISH))
        raise SettingsError(f"there is no step {args.step!r}; use one of {names}")
    reads_database = params.snapshot.database and args.step == "snapshot"
    database = Database(settings.require("database_url").database_url) if reads_database else None
    with closing(database) if database else nullcontext(), progress_bar() as progress:
        steps.STEPS[args.step].run(_run(params, settings, database, progress))
    return 0


def _run(params: Params, settings: Settings, database: Database | None, progress: ProgressCallback) -> PipelineRun:
    from marquee.training.pipeline.pipeline_run import PipelineRun

    store = connect(settings.objects_url) if settings.objects_url else None
    return PipelineRun(Path(), params, params.snapshot.to_request(), progress, database, store, settings.privacy_key)


def _publish(params: Params, settings: Settings) -> int:
    """Publish into data/objects, an output of the pipeline.

    `marquee retrain --pipeline` publishes into the object store of the deployment.
    """
    from marquee.training.retrain import retrain

    with progress_bar() as progress:
        result = retrain(
            params.snapshot.to_request(),
            params,
            connect(Path("data/objects").resolve().as_uri()),
            prepared=Path(),
            releasing=False,
            commit=settings.commit,
            progress=progress,
        )
    print_result(result)
    return 0
