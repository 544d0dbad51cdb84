"""``marquee data``: download base data, or check your own."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from marquee.cli.argument_types import rating_scale
from marquee.config import base_data
from marquee.config.settings import Settings
from marquee.data import movielens
from marquee.errors import TrainingDataError
from marquee.training.params import Params


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions and the paths."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    fetch = actions.add_parser("fetch", help="download MovieLens 100K unless it is there")
    fetch.add_argument("--to", type=Path, default=Path("data/movielens-100k"), metavar="DIRECTORY")
    fetch.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE")
    fetch.add_argument("--requirements", type=Path, default=Path("requirements/movielens.txt"), metavar="FILE")
    check = actions.add_parser("check", help="report what training reads of base data, and what it refuses")
    check.add_argument("directory", type=Path, help="directory with ratings.csv, users.csv and movies.csv")
    check.add_argument(
        "--scale",
        type=rating_scale,
        default=(1.0, 5.0),
        metavar="LOW-HIGH",
        help="rating scale (default: 1-5)",
    )


def run(args: argparse.Namespace, _: Settings) -> int:
    """Download or check; return 1 if a checked file is refused."""
    if args.action == "check":
        return _check(args.directory, args.scale)
    sha256 = Params.read(args.params).movielens.sha256
    fetched = movielens.fetch(args.to, args.requirements, sha256)
    print(f"{args.to}: {'fetched' if fetched else 'already there'}, sha256 checked")
    return 0


def _check(directory: Path, scale: tuple[float, float]) -> int:
    """Print one line for each table and each problem; return 1 if training would refuse a table."""
    checks = (
        _check_ratings(directory / base_data.RATINGS_FILE, scale),
        _check_side_table(directory / base_data.USERS_FILE, "user_id"),
        _check_side_table(directory / base_data.MOVIES_FILE, "movie_id"),
    )
    refused = False
    for lines in checks:
        try:
            for line in lines:
                print(line)
        except TrainingDataError as error:
            print(f"refused: {error}")
            refused = True
    return 1 if refused else 0


def _check_ratings(path: Path, scale: tuple[float, float]) -> Iterator[str]:
    left_out: Counter[str] = Counter()
    units: Counter[str] = Counter()
    times, values = _Range(), _Range()
    users, movies, outside, rows = set(), set(), 0, 0
    for rating in base_data.read_ratings(path, left_out, units):
        rows += 1
        users.add(rating.user_id)
        movies.add(rating.movie_id)
        times.add(rating.time)
        values.add(rating.rating)
        outside += not scale[0] <= rating.rating <= scale[1]
    if not rows:
        raise TrainingDataError(f"{path} holds no ratings to learn from{_describe_left_out(left_out)}")
    first, last = (datetime.fromtimestamp(time, UTC).date() for time in (times.low, times.high))
    yield (
        f"{path}: {rows} ratings of {values.low:g} to {values.high:g} by {len(users)} users of {len(movies)} movies, "
        f"{first} to {last} (times in {', '.join(units)}){_describe_left_out(left_out)}"
    )
    if outside:
        raise TrainingDataError(
            f"{path}: {outside} of {rows} ratings are outside the scale of {scale[0]:g} to {scale[1]:g}; name the "
            f"scale of the data, such as --scale {values.low:g}-{values.high:g}, here and for `marquee retrain`"
        )


def _check_side_table(path: Path, key: str) -> Iterator[str]:
    left_out: Counter[str] = Counter()
    rows = base_data.read_side_table(path, key, left_out)
    columns = ", ".join(next(iter(rows.values()), {}))
    found = f"{len(rows)} rows with {columns}" if rows else "no rows (the table is optional)"
    yield f"{path}: {found}{_describe_left_out(left_out)}"


def _describe_left_out(left_out: Counter[str]) -> str:
    return "".join(f"; {rows} rows left out ({base_data.CAUSES[cause]})" for cause, rows in left_out.items())


class _Range:
    """Smallest and largest of the numbers added."""

    def __init__(self) -> None:
        self.low, self.high = float("inf"), float("-inf")

    def add(self, number: float) -> None:
        self.low, self.high = min(self.low, number), max(self.high, number)
