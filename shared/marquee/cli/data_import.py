"""``marquee data``: download base data, import your own, or check them."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from marquee.cli.argument_types import LIKES, bounded_float, rating_scale, scale_or_likes
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
        "--scale", type=rating_scale, metavar="LOW-HIGH", help="rating scale (default: that of the import, or 1-5)"
    )
    _add_import(actions.add_parser("import", help="write ratings of any table, or a MovieLens data set, as base data"))


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "MovieLens 100K, 1M, 10M, 20M, 25M, 32M and the latest releases are recognized, as directories or ZIP "
        "archives. Every row is written, or kept in refused.csv with its reason; import.json is the report."
    )
    add = parser.add_argument
    add("source", type=Path, help="MovieLens, or a table of ratings as CSV or Parquet")
    add("--to", type=Path, required=True, metavar="DIRECTORY", help="where the base data are written")
    add(
        "--columns",
        type=_columns,
        default={},
        metavar="NAME=COLUMN,...",
        help="columns of user_id, movie_id, rating and time that have unusual names, such as user_id=viewer",
    )
    add(
        "--separator",
        type=_separator,
        default="",
        metavar="TEXT",
        help="of a CSV table (default: found in its first row)",
    )
    add("--no-header", action="store_true", help="the first row is a rating; --columns has numbers, such as user_id=1")
    add(
        "--time-format",
        default="auto",
        metavar="FORMAT",
        help="s, ms, us or ns since 1970, iso, or a format such as %%d.%%m.%%Y (default: auto)",
    )
    add(
        "--scale",
        type=scale_or_likes,
        metavar="LOW-HIGH",
        help="rating scale such as 0.5-5 or 0-10, or likes (default: 1-5)",
    )
    add("--movies", type=Path, metavar="FILE", help="table of movies: movie_id, title, year, genres and others")
    add("--users", type=Path, metavar="FILE", help="table of users: user_id, age, gender and others")
    add(
        "--log-ids",
        action="store_true",
        help="number the users and end movie ids in +, as the event log's text and the demo need",
    )
    add(
        "--allow-refused", type=bounded_float(0, 1), default=1.0, metavar="FRACTION", help="fail if more is refused (1)"
    )


def run(args: argparse.Namespace, _: Settings) -> int:
    """Download or check; return 1 if a checked file is refused."""
    if args.action == "check":
        return _check(args.directory, args.scale or base_data.read_scale(args.directory) or (1.0, 5.0))
    if args.action == "import":
        return _import(args)
    sha256 = Params.read(args.params).movielens.sha256
    fetched = movielens.fetch(args.to, args.requirements, sha256)
    print(f"{args.to}: {'fetched' if fetched else 'already there'}, sha256 checked")
    return 0


def _import(args: argparse.Namespace) -> int:
    """Import and print the report; return 1 if more rows were refused than allowed."""
    # Imported late: the readers of Parquet take seconds to load.
    from marquee.data.base_import import REASONS, REFUSED_FILE, import_ratings
    from marquee.data.movielens_formats import recognize
    from marquee.data.table_mapping import TableMapping, open_table

    if not args.source.exists():
        raise TrainingDataError(f"there is no {args.source}: name a directory, a ZIP archive, a CSV or a Parquet file")
    is_likes = args.scale == LIKES
    source = recognize(args.source)
    if source is None:
        if args.source.is_dir():
            raise TrainingDataError(
                f"{args.source} is a directory without a MovieLens data set (u.data, ratings.dat or ratings.csv with "
                "movies.csv, as they are published): name the file with the ratings"
            )
        mapping = TableMapping(
            args.columns,
            args.separator,
            not args.no_header,
            args.time_format,
            (1.0, 5.0) if is_likes or args.scale is None else args.scale,
            likes=is_likes,
        )
        source = open_table(args.source, mapping, args.movies, args.users)
    elif args.scale not in (None, source.scale):
        raise TrainingDataError(
            f"{source.name} has ratings of {source.scale[0]:g} to {source.scale[1]:g}; omit --scale"
        )
    report = import_ratings(source, args.source.name, args.to, log_ids=args.log_ids)
    low, high = report.scale
    print(
        f"{args.to}: {report.format}, {report.ratings} of {report.rows} ratings of {low:g} to {high:g} by "
        f"{report.users} users of {report.movies} movies, {report.first:%Y-%m-%d} to {report.last:%Y-%m-%d}"
    )
    if report.repeated:
        print(f"{report.repeated} ratings repeat a user and a movie; training takes the newest")
    for reason, rows in report.refused.items():
        print(f"refused: {rows} rows ({REASONS[reason]}); {args.to / REFUSED_FILE} has them")
    return 1 if sum(report.refused.values()) > args.allow_refused * report.rows else 0


def _columns(text: str) -> dict[str, str]:
    """Parse names of columns such as ``user_id=viewer,time=when``; an argparse type."""
    pairs = [pair.partition("=") for pair in text.split(",")]
    if not all(name and column for name, _, column in pairs):
        raise argparse.ArgumentTypeError(f"{text!r}: expected NAME=COLUMN,..., such as user_id=viewer,time=when")
    return {name.strip(): column.strip() for name, _, column in pairs}


def _separator(text: str) -> str:
    r"""Parse a separator; ``tab`` and ``\t`` mean a tab. An argparse type."""
    return "\t" if text in ("tab", "\\t") else text


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
