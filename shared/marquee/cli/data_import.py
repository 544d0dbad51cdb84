"""``marquee data fetch``: download the base data."""

from __future__ import annotations

import argparse
from pathlib import Path

from marquee.config.settings import Settings
from marquee.data import movielens
from marquee.training.params import Params


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the action and the paths."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    fetch = actions.add_parser("fetch", help="download MovieLens 100K unless it is there")
    fetch.add_argument("--to", type=Path, default=Path("data/movielens-100k"), metavar="DIRECTORY")
    fetch.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE")
    fetch.add_argument(
        "--requirements", type=Path, default=Path("requirements/movielens.txt"), metavar="FILE"
    )


def run(args: argparse.Namespace, _: Settings) -> int:
    """Download the data unless they exist, check their hashes, and print the result."""
    sha256 = Params.read(args.params).movielens.sha256
    fetched = movielens.fetch(args.to, args.requirements, sha256)
    print(f"{args.to}: {'fetched' if fetched else 'already there'}, sha256 checked")
    return 0
