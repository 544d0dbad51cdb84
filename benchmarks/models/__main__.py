"""``python -m benchmarks.models``: compare all models; write docs/models.md, its charts and reports/models.json."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import report_files
from marquee.cli.progress_bar import progress_bar
from marquee.config.blas_threads import limit_blas_threads

if TYPE_CHECKING:
    from benchmarks.models.report_model import ModelReport
    from marquee.backtest.backtest_jobs import BacktestInputs
    from marquee.data.dataset import Dataset
    from marquee.training.params import Params


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison and return the exit code."""
    args = _parser().parse_args(argv)
    limit_blas_threads()
    # With one thread, seconds equal CPU seconds.
    os.environ.setdefault("NUMBA_NUM_THREADS", "1")
    from benchmarks.models import report

    return report_files.run_report(args, lambda: report.write_results(args.out, _compare(args)), report.write_page)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.models",
        description="Compare all models on MovieLens 100K and write docs/models.md.",
        epilog=(
            "Takes minutes, with one thread. Each step is cached in --cache until the data, the parameters or the "
            "code change, so that a killed run resumes."
        ),
    )
    report_files.add_options(parser)
    parser.add_argument("--cache", type=Path, default=Path("build/compare"), metavar="DIRECTORY")
    parser.add_argument(
        "--only", action="append", metavar="ALGORITHM", help="such as EASE; may be repeated; default: all"
    )
    parser.add_argument("--cuts", type=int, default=16, metavar="N", help="retrainings of the backtest (default: 16)")
    parser.add_argument(
        "--backtest-only", action="store_true", help="replace the backtest in the existing reports/models.json"
    )
    return parser


def _compare(args: argparse.Namespace) -> ModelReport:
    import msgspec

    from benchmarks.base_dataset import read_dataset
    from benchmarks.models.algorithms import ALGORITHMS
    from benchmarks.models.compare import compare
    from benchmarks.models.report import read_results
    from marquee.backtest.backtest_summary import backtest
    from marquee.errors import SettingsError
    from marquee.training.params import Params

    algorithms = args.only or list(ALGORITHMS)
    if unknown := [name for name in algorithms if name not in ALGORITHMS]:
        raise SettingsError(f"there is no algorithm {unknown[0]!r}; there is {', '.join(ALGORITHMS)}")
    params = Params.read(args.params)
    dataset, side_information = read_dataset(params, args.base)
    with progress_bar() as progress:
        if args.backtest_only:
            results = read_results(args.out)
        else:
            results = compare(
                dataset,
                side_information,
                params,
                cache=args.cache,
                algorithms=algorithms,
                today=datetime.now(UTC).date(),
                progress=progress,
            )
        inputs = _backtest_inputs(dataset, params, args.cuts)
        return msgspec.structs.replace(results, backtest=backtest(inputs, args.cache / "backtest", progress=progress))


def _backtest_inputs(dataset: Dataset, params: Params, cuts: int) -> BacktestInputs:
    """Return the backtest of the served models."""
    from marquee.backtest.backtest_jobs import BacktestInputs
    from marquee.backtest.backtest_plan import BacktestPlan, ServedModel
    from marquee.backtest.event_stream import EventStream

    plan = BacktestPlan(models=(ServedModel(params.trainer, params.ranker),), cuts=cuts)
    return BacktestInputs(EventStream.from_dataset(dataset), plan, params, frozenset(dataset.movie_ids))


if __name__ == "__main__":
    sys.exit(main())
