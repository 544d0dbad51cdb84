"""``marquee cost``: what the system costs a month on Google Cloud, beside a machine that is always on."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from marquee.config.settings import Settings
from marquee.costs import assumptions, report
from marquee.costs.comparison import compare
from marquee.costs.estimates import measured_load
from marquee.costs.load import Load
from marquee.costs.plot import draw
from marquee.costs.prices import FILE, read_prices
from marquee.db.pool import Database

DESIGN = Load(1_580, 12)
"""94,800 viewers, each with a line a minute; and their requests."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The load, what else to assume, and how to show it."""
    parser.add_argument(
        "--lines-per-second", type=_load, metavar="N", help="lines of the log (default: 1580)"
    )
    parser.add_argument(
        "--requests-per-second", type=_load, metavar="N", help="requests for recommendations (default: 12)"
    )
    parser.add_argument(
        "--measured", action="store_true", help="take the load of the last day from the database"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="pairs",
        metavar="NAME=VALUE",
        help="another value for an assumption: "
        + ", ".join(f"{name}={value:g}" for name, value in assumptions.names().items()),
    )
    parser.add_argument("--prices", type=Path, default=FILE, help="another table of prices")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="print JSON instead of text")
    shown.add_argument("--table", action="store_true", help="print a Markdown table instead of text")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw cost against load as well")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print the comparison; what to doubt in it goes to standard error."""
    prices = read_prices(args.prices)
    work, system = assumptions.changed(args.pairs)
    load = _asked(args, settings)
    comparison = compare(load, prices, work, system)
    if args.json:
        print(json.dumps(report.document(comparison, prices), indent=2))
    else:
        print((report.markdown if args.table else report.text)(comparison, prices))
    if args.plot:
        args.plot.write_text(draw(load, prices, work, system))
    for doubt in [prices.warning(datetime.now(UTC).date()), *report.shortages(load, work, system)]:
        if doubt:
            print(f"warning: {doubt}", file=sys.stderr)
    return 0


def _asked(args: argparse.Namespace, settings: Settings) -> Load:
    """What was given; of the rest, what was measured or the design's load."""
    known = _measured(settings) if args.measured else DESIGN
    lines, requests = args.lines_per_second, args.requests_per_second
    return Load(
        known.lines_per_second if lines is None else lines,
        known.requests_per_second if requests is None else requests,
    )


def _measured(settings: Settings) -> Load:
    with closing(Database(settings.require("database_url").database_url)) as database:
        return measured_load(database)


def _load(raw: str) -> float:
    try:
        value = float(raw)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1e7:
        raise argparse.ArgumentTypeError(f"{raw!r}: it should be a number from 0 to 10 million")
    return value
