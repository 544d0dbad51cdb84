"""``marquee model loops``: simulate weeks of retraining on the outcomes of recommendations."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from marquee.cli.argument_types import bounded_int
from marquee.cli.progress_bar import progress_bar
from marquee.cli.text_table import text_table
from marquee.config.blas_threads import limit_blas_threads
from marquee.config.settings import Settings
from marquee.errors import SettingsError

_RESULT = "loops.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a simulation."""
    parser.epilog = (
        "Users with known tastes get lists from the engine that answers requests; what they watch is trained on each "
        "night. Variants with and without exploration, diversity and popularity terms are compared in pairs of equal "
        "seeds. Nothing outside the directory is written. docs/feedback-loops.md explains the measures."
    )
    parser.add_argument("--users", type=bounded_int(1), default=400, metavar="N")
    parser.add_argument("--movies", type=bounded_int(1), default=400, metavar="N")
    parser.add_argument("--days", type=bounded_int(1), default=30, metavar="N")
    parser.add_argument("--seeds", type=bounded_int(1), default=3, metavar="N", help="worlds; default: 3")
    parser.add_argument(
        "--variant", action="append", metavar="NAME", help="only this variant; may be repeated. Default: all"
    )
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE")
    parser.add_argument("--out", type=Path, default=Path("build/loops"), metavar="DIRECTORY")


def run(args: argparse.Namespace, _settings: Settings) -> int:
    """Simulate, print the table and write the report."""
    limit_blas_threads()
    from marquee.config.atomic_file import write_atomically
    from marquee.loops.loop_measures import MEASURES
    from marquee.loops.loop_report import simulate_loops, summarize
    from marquee.loops.loop_variants import VARIANTS
    from marquee.loops.loop_world import LENGTH, WorldSize
    from marquee.training.params import Params

    if args.movies < 5 * LENGTH:
        raise SettingsError(f"--movies is {args.movies}; a list has {LENGTH} movies, so use at least {5 * LENGTH}")
    by_name = {variant.name: variant for variant in VARIANTS}
    if unknown := [name for name in args.variant or () if name not in by_name]:
        raise SettingsError(f"unknown variant {unknown[0]!r}; valid variants are: {'; '.join(by_name)}")
    size = WorldSize(users=args.users, movies=args.movies, days=args.days)
    variants = [by_name[name] for name in args.variant or by_name]
    with progress_bar() as progress:
        report = simulate_loops(
            size, range(1, args.seeds + 1), variants, Params.read(args.params), args.out / "runs", progress
        )
    write_atomically(args.out / _RESULT, msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    print(text_table(["variant", *MEASURES], summarize(report, MEASURES)))
    print(f"\nmean of the last days, ± half of the 95 % interval over seeds; {args.out / _RESULT}")
    return 0
