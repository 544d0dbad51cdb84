"""``python -m benchmarks.loops``: simulate feedback loops; write docs/feedback-loops.md, its charts and the results."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from benchmarks.loops import loops_page
from benchmarks.registry import is_full_run
from marquee.cli.progress_bar import progress_bar
from marquee.config.blas_threads import limit_blas_threads

SEEDS = 10
_SMALL, _FULL = {"users": 100, "movies": 400}, {"users": 1_500, "movies": 1_500}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the simulation and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.loops",
        description="Simulate feedback loops and write docs/feedback-loops.md.",
        epilog="Takes minutes, with one thread, and resumes if it was killed. FULL=1 simulates 1,500 users and movies "
        "(hours).",
    )
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIRECTORY", help="root of the written files")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE")
    parser.add_argument("--page-only", action="store_true", help="write the page from the existing results")
    args = parser.parse_args(argv)
    limit_blas_threads()
    if not args.page_only:
        _simulate(args.out, args.params)
    for path in loops_page.write_page(args.out):
        print(path)
    return 0


def _simulate(root: Path, params: Path) -> None:
    from marquee.loops.loop_report import simulate_loops
    from marquee.loops.loop_variants import VARIANTS
    from marquee.loops.loop_world import WorldSize
    from marquee.training.params import Params

    size = msgspec.structs.replace(WorldSize(), **(_FULL if is_full_run() else _SMALL))
    with progress_bar() as progress:
        report = simulate_loops(
            size, range(1, SEEDS + 1), VARIANTS, Params.read(params), Path("build/loops/runs"), progress
        )
    machine = f"{platform.machine()}, Python {platform.python_version()}"
    loops_page.write_results(
        root, msgspec.structs.replace(report, made=datetime.now(UTC).date().isoformat(), machine=machine)
    )


if __name__ == "__main__":
    sys.exit(main())
