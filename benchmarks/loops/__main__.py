"""``python -m benchmarks.loops``: simulate feedback loops; write docs/feedback-loops.md, its charts and the results.

With a size or a variant it prints a table instead, and writes nothing outside its directory.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from benchmarks.registry import is_full_run
from marquee.cli.argument_types import bounded_int
from marquee.cli.progress_bar import progress_bar
from marquee.cli.text_table import text_table
from marquee.config.atomic_file import write_atomically
from marquee.config.blas_threads import limit_blas_threads

if TYPE_CHECKING:
    from benchmarks.loops.loop_report import LoopReport
    from benchmarks.loops.loop_variants import LoopVariant
    from benchmarks.loops.loop_world import WorldSize

SEEDS = 10
_SMALL, _FULL = {"users": 100, "movies": 400}, {"users": 1_500, "movies": 1_500}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the simulation and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.loops",
        description="Simulate feedback loops and write docs/feedback-loops.md. With a size or a variant, print a table "
        "and write build/loops/loops.json instead.",
        epilog="Takes minutes, with one thread, and resumes if it was killed. FULL=1 simulates 1,500 users and movies "
        "(hours).",
    )
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIRECTORY", help="root of the written files")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE")
    parser.add_argument("--page-only", action="store_true", help="write the page from the existing results")
    parser.add_argument("--users", type=bounded_int(1), metavar="N")
    parser.add_argument("--movies", type=bounded_int(1), metavar="N")
    parser.add_argument("--days", type=bounded_int(1), metavar="N")
    parser.add_argument("--seeds", type=bounded_int(1), metavar="N", help=f"worlds; default: {SEEDS}")
    parser.add_argument("--variant", action="append", metavar="NAME", help="only this variant; may be repeated")
    args = parser.parse_args(argv)
    limit_blas_threads()
    size = {name: value for name in ("users", "movies", "days") if (value := getattr(args, name))}
    if size or args.seeds or args.variant:
        _print_table(parser, args, size)
        return 0
    from benchmarks.loops import loops_page
    from benchmarks.loops.loop_variants import VARIANTS

    if not args.page_only:
        report = _simulate(_make_size({}), SEEDS, VARIANTS, args)
        machine = f"{platform.machine()}, Python {platform.python_version()}"
        made = datetime.now(UTC).date().isoformat()
        loops_page.write_results(args.out, msgspec.structs.replace(report, made=made, machine=machine))
    for path in loops_page.write_page(args.out):
        print(path)
    return 0


def _print_table(parser: argparse.ArgumentParser, args: argparse.Namespace, changes: dict[str, int]) -> None:
    from benchmarks.loops.loop_measures import MEASURES
    from benchmarks.loops.loop_report import summarize
    from benchmarks.loops.loop_variants import VARIANTS
    from benchmarks.loops.loop_world import LENGTH

    size, by_name = _make_size(changes), {variant.name: variant for variant in VARIANTS}
    if size.movies < 5 * LENGTH:
        parser.error(f"--movies is {size.movies}; a list has {LENGTH} movies, so use at least {5 * LENGTH}")
    if unknown := [name for name in args.variant or () if name not in by_name]:
        parser.error(f"unknown variant {unknown[0]!r}; valid variants are: {'; '.join(by_name)}")
    variants = [by_name[name] for name in args.variant or by_name]
    report = _simulate(size, args.seeds or SEEDS, variants, args)
    result = args.out / "build/loops/loops.json"
    write_atomically(result, msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    print(text_table(["variant", *MEASURES], summarize(report, MEASURES)))
    print(f"\nmean of the last days, ± half of the 95 % interval over seeds; {result}")


def _make_size(changes: dict[str, int]) -> WorldSize:
    from benchmarks.loops.loop_world import WorldSize

    return msgspec.structs.replace(WorldSize(), **{**(_FULL if is_full_run() else _SMALL), **changes})


def _simulate(size: WorldSize, seeds: int, variants: Sequence[LoopVariant], args: argparse.Namespace) -> LoopReport:
    from benchmarks.loops.loop_report import simulate_loops
    from marquee.training.params import Params

    runs = args.out / "build/loops/runs"
    with progress_bar() as progress:
        return simulate_loops(size, range(1, seeds + 1), variants, Params.read(args.params), runs, progress)


if __name__ == "__main__":
    sys.exit(main())
