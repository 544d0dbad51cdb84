"""``python -m benchmarks.fairness``: analyze fairness; write docs/fairness.md, its charts and the results."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from marquee.cli.progress_bar import progress_bar
from marquee.config.blas_threads import limit_blas_threads
from marquee.errors import MarqueeError

if TYPE_CHECKING:
    from benchmarks.fairness.fairness_results import FairnessAnalysis


def main(argv: Sequence[str] | None = None) -> int:
    """Run the analysis and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fairness",
        description="Analyze fairness on MovieLens 100K and write docs/fairness.md.",
        epilog="Takes a few minutes, with one thread.",
    )
    parser.add_argument("--base", type=Path, metavar="DIRECTORY", help="base data; default: download MovieLens 100K")
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIRECTORY", help="root of the written files")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE")
    parser.add_argument("--page-only", action="store_true", help="write the page from the existing results")
    args = parser.parse_args(argv)
    limit_blas_threads()
    from benchmarks.fairness import fairness_page

    try:
        if not args.page_only:
            fairness_page.write_results(args.out, _analyze(args))
    except MarqueeError as error:
        print(error, file=sys.stderr)
        return 1
    for path in fairness_page.write_page(args.out):
        print(path)
    return 0


def _analyze(args: argparse.Namespace) -> FairnessAnalysis:
    from benchmarks.base_dataset import read_dataset
    from benchmarks.fairness.analysis import analyze
    from benchmarks.fairness.fair_windows import Data
    from marquee.training.params import Params

    params = Params.read(args.params)
    dataset, side_information = read_dataset(params, args.base)
    with progress_bar() as progress:
        return analyze(Data(dataset, side_information, params), datetime.now(UTC).date(), progress)


if __name__ == "__main__":
    sys.exit(main())
