"""``marquee retrain``: train, evaluate and release a model."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from marquee.cli.argument_types import bounded_float, rating_scale
from marquee.cli.declaration_files import CANARY_FILE, read_declaration_file
from marquee.cli.progress_bar import progress_bar
from marquee.cli.retrain_report import print_result
from marquee.config.blas_threads import limit_blas_threads
from marquee.config.settings import Settings
from marquee.config.timestamps import timestamp, with_default_zone
from marquee.db.pool import Database
from marquee.db.retrain_queue import pending
from marquee.errors import PipelineFailed, SettingsError
from marquee.events.log_scale import LogScale
from marquee.experiments.lifecycle import find_recipes
from marquee.registry.object_store.connect import connect

if TYPE_CHECKING:
    from marquee.data.snapshot import SnapshotRequest
    from marquee.experiments.declaration import Declaration
    from marquee.training.params import Params

EXIT_RELEASED, EXIT_REFUSED = 0, 3
EXIT_WAITING = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``marquee retrain``."""
    parser.epilog = (
        "Exit code: 0 released, trained only (--no-release) or held (an experiment is running); "
        "3 refused; 4 nothing to learn from yet; 1 failed."
    )
    parser.add_argument(
        "--until",
        type=timestamp,
        metavar="TIME",
        help="train on events before TIME, such as 2026-02-14T00:09[:20][Z] (default: now)",
    )
    parser.add_argument("--base", metavar="DIRECTORY", help="directory with ratings.csv (default: MARQUEE_BASE_DATA)")
    parser.add_argument(
        "--base-fraction",
        type=bounded_float(0, 1),
        metavar="FRACTION",
        help="only the oldest FRACTION of it, such as 0.8",
    )
    parser.add_argument(
        "--scale",
        type=rating_scale,
        metavar="LOW-HIGH",
        help="rating scale of the base data, such as 1-10 or 0.5-5 (default: that of the import, or params.yaml)",
    )
    parser.add_argument("--no-database", action="store_true", help="train on the base data alone")
    parser.add_argument("--no-release", action="store_true", help="store and evaluate the model, but do not release it")
    parser.add_argument(
        "--force", action="store_true", help="release even while a rollback has paused automatic releases"
    )
    parser.add_argument(
        "--now", action="store_true", help="release to all users at once, whatever MARQUEE_RELEASE_POLICY is"
    )
    parser.add_argument(
        "--pipeline",
        action="store_true",
        help="run the steps through DVC, with the snapshot section of params.yaml",
    )
    parser.add_argument(
        "--if-requested",
        action="store_true",
        help="do nothing unless the monitor has requested a retraining",
    )
    parser.add_argument("--reason", default="", help="reason, for the release and the record of the run")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the evaluation as JSON")
    parser.add_argument(
        "--work",
        type=Path,
        metavar="DIRECTORY",
        help="keep the files of the steps in DIRECTORY until the run ends: the next run resumes one that was killed",
    )
    parser.add_argument("--engine", choices=("local", "spark"), help="where to run (default: that of params.yaml)")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Retrain once and print the result."""
    if args.if_requested and not _is_requested(settings):
        print("no retraining is requested")
        return EXIT_RELEASED
    limit_blas_threads()
    # Imported late: pandas and scipy take seconds to load, too long for `marquee retrain --help`.
    from marquee.data import deterministic_io
    from marquee.training.params import LOCAL, Params
    from marquee.training.recipe_retraining import retrain_recipes
    from marquee.training.release_policy import REFUSED
    from marquee.training.retrain import WAITING, retrain

    store = connect(settings.require("objects_url").objects_url)
    params = Params.read(args.params)
    if args.engine is not None:
        params = msgspec.structs.replace(params, engine=args.engine)
    if args.pipeline and params.engine != LOCAL:
        raise SettingsError(
            f"--pipeline runs the steps of engine: local through DVC; omit it with engine: {params.engine}"
        )
    prepared = _run_dvc(args, settings) if args.pipeline else None
    request = _request(args, settings, params)
    database = Database(settings.database_url) if settings.database_url and not args.no_database else None
    try:
        with progress_bar() as progress:
            common: dict[str, Any] = {
                "remote": connect(settings.dvc_remote) if settings.dvc_remote else None,
                "reason": args.reason,
                "commit": settings.commit,
                "privacy_key": settings.privacy_key,
                "movies_url": settings.movies_url,
                "progress": progress,
            }
            recipes = None if args.no_release or args.pipeline or params.engine != LOCAL else find_recipes(store)
            if recipes:
                results = list(retrain_recipes(request, params, store, database, *recipes, **common).values())
            else:
                result = retrain(
                    request,
                    params,
                    store,
                    database,
                    prepared=prepared,
                    snapshot_days=settings.retention_days,
                    objects_url=settings.objects_url,
                    work=args.work,
                    releasing=not args.no_release,
                    force=args.force,
                    canary=_canary_declaration(args, settings),
                    **common,
                )
                results = [result]
    finally:
        if database is not None:
            database.close()
    if args.report and results[0].evaluation:
        deterministic_io.write_json(args.report, results[0].evaluation)
    for result in results:
        print_result(result)
    codes = {REFUSED: EXIT_REFUSED, WAITING: EXIT_WAITING}
    return max(codes.get(result.outcome, EXIT_RELEASED) for result in results)


def _canary_declaration(args: argparse.Namespace, settings: Settings) -> Declaration | None:
    """Return the declaration of the canary that releases the model; None to release it directly."""
    if args.now or settings.release_policy == "direct":
        return None
    path: Path = args.params.resolve().parent / CANARY_FILE
    return read_declaration_file(path if path.exists() else None, settings)


def _is_requested(settings: Settings) -> bool:
    """Return whether a request is open. No training library is imported for it."""
    with closing(Database(settings.require("database_url").database_url)) as database:
        return bool(pending(database, datetime.now(UTC)))


def _run_dvc(args: argparse.Namespace, settings: Settings) -> Path:
    """Let DVC bring all steps but ``publish`` up to date; return the directory of params.yaml."""
    given = [name for name in ("until", "base", "base_fraction", "scale", "work") if getattr(args, name) is not None]
    if given or args.no_database:
        raise SettingsError(
            "--pipeline takes the snapshot from the snapshot section of params.yaml: edit it there, "
            "and omit --until, --base, --base-fraction, --scale, --no-database and --work"
        )
    root: Path = args.params.resolve().parent
    environment = {**os.environ, **settings.environment()}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")])
    command = [sys.executable, "-m", "dvc", "repro", "--quiet", "evaluate", "fairness"]
    try:
        subprocess.run(command, cwd=root, env=environment, check=True, stdout=sys.stderr)
    except subprocess.CalledProcessError as error:
        raise PipelineFailed(
            f"`dvc repro` in {root} failed with exit code {error.returncode}; see its output above"
        ) from error
    return root


def _default_until(work: Path | None) -> datetime:
    """Return the present time, or that of the run that was killed in ``work``."""
    from marquee.training.pipeline.step_journal import unfinished_until
    from marquee.training.retrain import RUN

    now = datetime.now(UTC)
    return (unfinished_until(work / RUN, now) if work else None) or now


def _request(args: argparse.Namespace, settings: Settings, params: Params) -> SnapshotRequest:
    from marquee.data.snapshot import SnapshotRequest

    if args.pipeline:
        return params.snapshot.to_request()
    base = settings.base_data if args.base is None else args.base
    fraction = settings.base_fraction if args.base_fraction is None else args.base_fraction
    until = with_default_zone(args.until, settings.time_zone) if args.until else _default_until(args.work)
    log = LogScale.named(settings.rating_scale)
    return SnapshotRequest(until, Path(base) if base else None, fraction, log.high, args.scale, log.low)
