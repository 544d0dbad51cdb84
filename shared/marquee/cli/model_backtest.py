"""``marquee backtest``: replay past ratings through the serving code, and compare models and baselines."""

from __future__ import annotations

import argparse
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from marquee.cli.argument_types import rating_scale
from marquee.cli.progress_bar import progress_bar
from marquee.config import base_data
from marquee.config.blas_threads import limit_blas_threads
from marquee.config.settings import Settings
from marquee.config.timestamps import timestamp, with_default_zone
from marquee.db.pool import Database
from marquee.errors import SettingsError
from marquee.events.log_scale import LogScale

if TYPE_CHECKING:
    from marquee.backtest.backtest_jobs import BacktestInputs
    from marquee.backtest.backtest_plan import BacktestPlan
    from marquee.backtest.backtest_summary import BacktestReport
    from marquee.data.sources import SourceData
    from marquee.training.params import Params

_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_RESULT = "backtest.json"


def duration(text: str) -> timedelta:
    """Parse a duration such as 30m, 6h, 1d or 2w."""
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not number.isdecimal() or not int(number):
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; write a number and m, h, d or w, such as 6h or 1d")
    return int(number) * _UNITS[unit]


def fraction_or_time(text: str) -> float | datetime:
    """Parse a fraction of the events such as 0.2, or a time."""
    try:
        value = float(text)
    except ValueError:
        return timestamp(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no fraction of the events; use 0 to 1, or a time")
    return value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a backtest."""
    parser.epilog = (
        "At each cut the pipeline trains; until the next one the engine that answers requests predicts each rating "
        "before it learns it, and makes each list before the movie is rated or watched. Running biases and popularity, "
        "scikit-surprise's SVD and river are always compared. Finished parts are kept in --out: a killed run resumes. "
        "Exit code: 0 done, 1 failed."
    )
    parser.add_argument("--base", type=Path, metavar="DIRECTORY", help="ratings.csv (default: MARQUEE_BASE_DATA)")
    parser.add_argument("--database", action="store_true", help="also replay the events in MARQUEE_DATABASE_URL")
    parser.add_argument("--scale", type=rating_scale, metavar="LOW-HIGH", help="rating scale of the base data")
    parser.add_argument("--trainer", action="append", metavar="NAME", help="rating model; may be repeated")
    parser.add_argument("--ranker", action="append", metavar="NAME", help="ranking model; may be repeated")
    parser.add_argument(
        "--fold-in", choices=("on", "off", "both"), default="on", help="learn from each event (default: on)"
    )
    cadence = parser.add_mutually_exclusive_group()
    cadence.add_argument("--cuts", type=int, default=16, metavar="N", help="retrainings (default: 16)")
    cadence.add_argument("--every", type=duration, metavar="DURATION", help="retrain every 6h, 1d or 2w instead")
    parser.add_argument(
        "--from",
        dest="begin",
        type=fraction_or_time,
        default=0.2,
        metavar="WHEN",
        help="first event that is predicted: a fraction of the events or a time (default: 0.2)",
    )
    parser.add_argument("--until", type=fraction_or_time, default=1.0, metavar="WHEN", help="the end (default: 1)")
    parser.add_argument(
        "--delay",
        type=duration,
        action="append",
        metavar="DURATION",
        help="delay of each new model whose cost is measured; may be repeated (default: 1h, 1d and 1w)",
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default: 1)")
    parser.add_argument("--out", type=Path, default=Path("build/backtest"), metavar="DIRECTORY")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Run the backtest; print its tables and write its files."""
    if args.cuts < 1 or args.workers < 1:
        raise SettingsError(f"--cuts {args.cuts} and --workers {args.workers} must be at least 1")
    limit_blas_threads()
    # Imported late: pandas and scipy take seconds to load, too long for `marquee backtest --help`.
    from marquee.backtest.backtest_summary import backtest
    from marquee.backtest.backtest_tables import render_tables
    from marquee.training.params import Params

    params = Params.read(args.params)
    scale = LogScale.named(settings.rating_scale)
    inputs = _make_inputs(_read_data(args, settings, params, scale), scale, _make_plan(args, params), params)
    with progress_bar() as progress:
        report = backtest(inputs, args.out / "parts", workers=args.workers, progress=progress)
    print(render_tables(report))
    for path in _write(args.out, report):
        print(path)
    return 0


def _read_data(args: argparse.Namespace, settings: Settings, params: Params, scale: LogScale) -> SourceData:
    from marquee.data import base_checks, sources

    until = datetime.now(UTC)
    base = args.base or (Path(settings.base_data) if settings.base_data else None)
    if base is None and not args.database:
        raise SettingsError("there is nothing to replay: name --base DIRECTORY or set MARQUEE_BASE_DATA, or --database")
    found = None
    if base is not None:
        own_low, own_high = args.scale or base_data.read_scale(base) or _default_scale(params)
        base_checks.validate_ratings((read := sources.read_base(base, until)).ratings, own_low, own_high)
        found = read.on_scale(own_low, own_high, *scale)
        if (own_low, own_high) != scale:
            on = f"{scale.low:g} to {scale.high:g}"
            print(f"ratings of {own_low:g} to {own_high:g} are replayed and measured on the scale {on}")
    if args.database:
        url = settings.require("database_url").database_url
        with closing(Database(url)) as database:
            stored = sources.read_database(database, until)
        found = stored if found is None else sources.merge_sources(found, stored)
    assert found is not None
    return found


def _default_scale(params: Params) -> tuple[float, float]:
    return params.data.rating_min, params.data.base_rating_max


def _make_inputs(source: SourceData, scale: LogScale, plan: BacktestPlan, params: Params) -> BacktestInputs:
    from marquee.backtest.backtest_jobs import BacktestInputs
    from marquee.backtest.event_stream import EventStream
    from marquee.data.dataset import Dataset

    attributes = params.data.user_attributes
    dataset = Dataset.from_frames(source.ratings, source.watch_sessions, *scale, source.side_information, attributes)
    return BacktestInputs(EventStream.from_dataset(dataset), plan, params, frozenset(source.side_information.movies))


def _make_plan(args: argparse.Namespace, params: Params) -> BacktestPlan:
    from marquee.backtest.backtest_plan import BacktestPlan, ServedModel
    from marquee.models.ranker_port import load_ranker
    from marquee.models.trainer_port import load_trainer

    trainers, rankers = args.trainer or [params.trainer], args.ranker or [params.ranker]
    for trainer in trainers:
        load_trainer(trainer)
    for ranker in rankers:
        load_ranker(ranker)
    _check_sections(trainers, params.trainers, "trainers", args.params)
    _check_sections(rankers, params.rankers, "rankers", args.params)
    modes = {"on": (True,), "off": (False,), "both": (True, False)}[args.fold_in]
    begin, end = (
        with_default_zone(when, UTC) if isinstance(when, datetime) else when for when in (args.begin, args.until)
    )
    plan = BacktestPlan(
        models=tuple(ServedModel(t, r, mode) for t in trainers for r in rankers for mode in modes),
        cuts=args.cuts,
        every=args.every,
        begin=begin,
        end=end,
    )
    return plan if args.delay is None else msgspec.structs.replace(plan, delays=tuple(args.delay))


def _check_sections(names: list[str], sections: dict[str, dict[str, object]], kind: str, path: Path) -> None:
    for name in names:
        if name not in sections:
            raise SettingsError(f"{path}: {name!r} has no section under {kind}; add one")


def _write(out: Path, report: BacktestReport) -> list[Path]:
    """Write the report as JSON, tables and charts; return the paths."""
    from marquee.backtest import backtest_charts
    from marquee.backtest.backtest_tables import render_tables
    from marquee.config.atomic_file import write_atomically

    files = {_RESULT: msgspec.json.format(msgspec.json.encode(report), indent=1).decode() + "\n"}
    files["backtest.md"] = render_tables(report)
    if backtest_charts.can_draw():
        files |= backtest_charts.draw_charts(report)
    else:
        print("no charts: matplotlib is not installed (`pip install matplotlib`)")
    for name, content in files.items():
        write_atomically(out / name, content.encode())
    return [out / name for name in files]
