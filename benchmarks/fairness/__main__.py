"""``python -m benchmarks.fairness``: analyze fairness; write docs/fairness.md, its charts and the results."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from benchmarks import report_files
from marquee.cli.progress_bar import progress_bar
from marquee.config.blas_threads import limit_blas_threads

if TYPE_CHECKING:
    from benchmarks.fairness.fairness_results import FairnessAnalysis


def main(argv: Sequence[str] | None = None) -> int:
    """Run the analysis and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fairness",
        description="Analyze fairness on MovieLens 100K and write docs/fairness.md.",
        epilog="Takes a few minutes, with one thread.",
    )
    report_files.add_options(parser)
    args = parser.parse_args(argv)
    limit_blas_threads()
    from benchmarks.fairness import fairness_page

    return report_files.run_report(
        args, lambda: fairness_page.write_results(args.out, _analyze(args)), fairness_page.write_page
    )


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
