"""``marquee pipeline STEP``: one step of the retraining, as dvc.yaml runs it."""

from __future__ import annotations

import argparse
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from marquee.cli.model_retrain import one_thread, show, watched
from marquee.config.settings import Settings
from marquee.db.pool import Database
from marquee.registry.object_store.connect import connect

if TYPE_CHECKING:
    from marquee.models.trainer_port import Progress
    from marquee.training.params import Params
    from marquee.training.pipeline.pipeline_run import PipelineRun

PUBLISH = "publish"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The name of the step."""
    parser.epilog = (
        "Parameters come from params.yaml, files from the working directory; `dvc repro` runs all."
    )
    parser.add_argument("step", help="snapshot, check, features, train, evaluate, fairness or publish")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Run one step in the working directory."""
    one_thread()
    from marquee.errors import SettingsError
    from marquee.training.params import Params
    from marquee.training.pipeline import steps

    params = Params.read(Path("params.yaml"))
    if args.step == PUBLISH:
        return _publish(params, settings)
    if args.step not in steps.STEPS:
        raise SettingsError(f"there is no step {args.step!r}; there is {', '.join(steps.STEPS)}, {PUBLISH}")
    reading = params.snapshot.database and args.step == "snapshot"
    database = Database(settings.require("database_url").database_url) if reading else None
    with closing(database) if database else nullcontext(), watched() as progress:
        steps.STEPS[args.step].run(_run(params, settings, database, progress))
    return 0


def _run(params: Params, settings: Settings, database: Database | None, progress: Progress) -> PipelineRun:
    from marquee.training.pipeline.pipeline_run import PipelineRun

    store = connect(settings.objects_url) if settings.objects_url else None
    return PipelineRun(Path(), params, params.snapshot.to_request(), database, store, progress)


def _publish(params: Params, settings: Settings) -> int:
    """Into data/objects, an output of the pipeline; `marquee retrain --pipeline` goes to the real store."""
    from marquee.training.retrain import retrain

    with watched() as progress:
        result = retrain(
            params.snapshot.to_request(),
            params,
            connect(Path("data/objects").resolve().as_uri()),
            prepared=Path(),
            releasing=False,
            commit=settings.commit,
            progress=progress,
        )
    show(result)
    return 0
