"""``marquee retrain``: train a model, evaluate it and release it."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from marquee.config.settings import Settings
from marquee.config.timestamps import timestamp, with_default_zone
from marquee.db.pool import Database
from marquee.db.retrain_queue import pending
from marquee.errors import PipelineFailed, SettingsError
from marquee.registry.object_store.connect import connect

if TYPE_CHECKING:
    from marquee.data.snapshot import SnapshotRequest
    from marquee.models.trainer_port import Progress
    from marquee.training.params import Params
    from marquee.training.publish import RetrainResult

EXIT_RELEASED, EXIT_REFUSED = 0, 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``marquee retrain``."""
    parser.epilog = (
        "Exit code: 0 released (or trained, with --no-release; or held, while an experiment runs), "
        "3 refused, 1 failed."
    )
    parser.add_argument(
        "--until",
        type=timestamp,
        metavar="TIME",
        help="learn from events before TIME, as 2026-02-14T00:09[:20][Z]",
    )
    parser.add_argument("--base", metavar="DIRECTORY", help="base data with ratings.csv (MARQUEE_BASE_DATA)")
    parser.add_argument(
        "--base-fraction", type=float, metavar="SHARE", help="only the earliest SHARE of it, such as .8"
    )
    parser.add_argument("--no-database", action="store_true", help="learn from the base data alone")
    parser.add_argument(
        "--no-release", action="store_true", help="store and judge the model, serve what serves"
    )
    parser.add_argument(
        "--pipeline",
        action="store_true",
        help="let DVC run what is not up to date, with the snapshot that params.yaml asks for",
    )
    parser.add_argument(
        "--if-asked", action="store_true", help="only if the monitor asks for it (retrain_requests)"
    )
    parser.add_argument("--reason", default="", help="why, for the release and the record")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the evaluation as JSON")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Retrain once; the result is printed."""
    if args.if_asked and not _asked(settings):
        print("nobody asks for a retraining")
        return EXIT_RELEASED
    one_thread()
    # Imported here: pandas and scipy take seconds, `marquee retrain --help` should not.
    from marquee.data import deterministic_io
    from marquee.training.params import Params
    from marquee.training.publish import REFUSED
    from marquee.training.retrain import retrain

    store = connect(settings.require("objects_url").objects_url)
    params = Params.read(args.params)
    prepared = _through_dvc(args, settings) if args.pipeline else None
    request = _request(args, settings, params)
    database = Database(settings.database_url) if settings.database_url and not args.no_database else None
    try:
        with watched() as progress:
            result = retrain(
                request,
                params,
                store,
                database,
                remote=connect(settings.dvc_remote) if settings.dvc_remote else None,
                prepared=prepared,
                reason=args.reason,
                releasing=not args.no_release,
                commit=settings.commit,
                progress=progress,
            )
    finally:
        if database is not None:
            database.close()
    if args.report and result.evaluation:
        deterministic_io.write_json(args.report, result.evaluation)
    show(result)
    return EXIT_REFUSED if result.outcome == REFUSED else EXIT_RELEASED


def _asked(settings: Settings) -> bool:
    """Whether a request is open; cheap, since what learns is not loaded for it."""
    with closing(Database(settings.require("database_url").database_url)) as database:
        return bool(pending(database, datetime.now(UTC)))


def one_thread() -> None:
    """Hold BLAS to one thread; to be said before numpy loads.

    Sums over several threads differ in their last bits, and a model should come out the same on any machine.
    An inverse of 5,000 x 5,000 takes a few seconds all the same.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _through_dvc(args: argparse.Namespace, settings: Settings) -> Path:
    """Let DVC bring every step but the last up to date; returns the directory where it did."""
    asked = [name for name in ("until", "base", "base_fraction") if getattr(args, name) is not None]
    if asked or args.no_database:
        raise SettingsError(
            "with --pipeline the snapshot is what params.yaml says under snapshot: edit it there, "
            "and leave out --until, --base, --base-fraction and --no-database"
        )
    root: Path = args.params.resolve().parent
    environment = {**os.environ, **settings.environment()}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")])
    command = [sys.executable, "-m", "dvc", "repro", "--quiet", "evaluate", "fairness"]
    try:
        subprocess.run(command, cwd=root, env=environment, check=True, stdout=sys.stderr)
    except subprocess.CalledProcessError as error:
        raise PipelineFailed(f"`dvc repro` in {root} ended with code {error.returncode}") from error
    return root


def _request(args: argparse.Namespace, settings: Settings, params: Params) -> SnapshotRequest:
    from marquee.data.snapshot import SnapshotRequest

    if args.pipeline:
        return params.snapshot.to_request()
    base = settings.base_data if args.base is None else args.base
    fraction = settings.base_fraction if args.base_fraction is None else args.base_fraction
    if not 0 <= fraction <= 1:
        raise SettingsError(f"--base-fraction is {fraction:g}: it should be a number from 0 to 1")
    until = with_default_zone(args.until, settings.time_zone) if args.until else datetime.now(UTC)
    return SnapshotRequest(until, Path(base) if base else None, fraction, float(settings.rating_max))


@contextmanager
def watched() -> Iterator[Progress]:
    """A bar on a terminal; elsewhere nothing."""
    from marquee.models.trainer_port import no_progress

    if not sys.stderr.isatty():
        yield no_progress
        return
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    with Bar(console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def advance(step: str, done: float) -> None:
            if step not in tasks or done == 0.0:
                tasks[step] = bar.add_task(step, total=1.0)
            bar.update(tasks[step], completed=done)

        yield advance


def show(result: RetrainResult) -> None:
    if result.evaluation:
        e = result.evaluation
        print(f"On the {e.split} ({e.ratings} ratings of {e.users} users, {e.known_users} known before):")
        for candidate, figures in e.figures.items():
            shown = (f"{name} {f.value:.4f} [{f.low:.4f}, {f.high:.4f}]" for name, f in figures.items())
            print(f"  {candidate:<11}{'  '.join(shown)}")
    for finding in result.findings:
        print(f"  {finding}")
    print(f"{result.version}: {result.outcome}: {result.reason}")
