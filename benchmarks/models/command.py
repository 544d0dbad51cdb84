"""``make models``: all models side by side; writes docs/models.md, its plots and reports/models.json."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from marquee.cli.progress_bar import progress_bar
from marquee.config.blas_threads import limit_blas_threads
from marquee.errors import MarqueeError

if TYPE_CHECKING:
    from benchmarks.models.report_model import ModelReport

_BASE, _REQUIREMENTS = Path("data/movielens-100k"), Path("requirements/movielens.txt")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.epilog = (
        "Minutes, by one thread. Each step is kept in --cache until the data, the parameters or the program change: "
        "killed, it goes on where it was."
    )
    parser.add_argument(
        "--base", type=Path, metavar="DIRECTORY", help="ratings.csv and so on; fetched if not given"
    )
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIRECTORY", help="the repository's root")
    parser.add_argument("--cache", type=Path, default=Path("build/compare"), metavar="DIRECTORY")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE")
    parser.add_argument("--only", action="append", metavar="SYSTEM", help="such as EASE; all if not given")
    parser.add_argument(
        "--page-only", action="store_true", help="write the page of the results that are there"
    )


def run(args: argparse.Namespace) -> int:
    """Measure, then write the page."""
    limit_blas_threads()
    os.environ.setdefault("NUMBA_NUM_THREADS", "1")  # So that seconds and CPU seconds are the same.
    from benchmarks.models import report

    if not args.page_only:
        report.write_results(args.out, _results(args))
    for path in report.write(args.out):
        print(path)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison; return 1 and print the reason if it fails."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models.command", description=__doc__)
    add_arguments(parser)
    try:
        return run(parser.parse_args(argv))
    except MarqueeError as error:
        print(error, file=sys.stderr)
        return 1


def _results(args: argparse.Namespace) -> ModelReport:
    from benchmarks.models.algorithms import ALGORITHMS
    from benchmarks.models.compare import compare
    from marquee.data import movielens, sources
    from marquee.data.dataset import Dataset
    from marquee.errors import SettingsError
    from marquee.training.params import Params

    systems = args.only or list(ALGORITHMS)
    if unknown := [name for name in systems if name not in ALGORITHMS]:
        raise SettingsError(f"there is no system {unknown[0]!r}; there is {', '.join(ALGORITHMS)}")
    params = Params.read(args.params)
    if args.base is None:
        movielens.fetch(_BASE, _REQUIREMENTS, params.movielens.sha256)
    base = sources.read_base(args.base or _BASE, datetime.now(UTC))
    low, high = params.data.rating_min, params.data.base_rating_max
    dataset = Dataset.from_frames(
        base.ratings, sources.empty_interactions(), low, high, base.side_information
    )
    with progress_bar() as progress:
        return compare(
            dataset,
            base.side_information,
            params,
            cache=args.cache,
            systems=systems,
            today=datetime.now(UTC).date(),
            progress=progress,
        )


if __name__ == "__main__":
    raise SystemExit(main())
