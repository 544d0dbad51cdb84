"""Readers of the formats in which GroupLens publishes MovieLens, as directories or ZIP archives.

100K has tables ``u.data``, ``u.item`` and ``u.user``; 1M and 10M have ``.dat`` files with ``::`` between the fields;
20M, 25M, 32M and the latest releases have CSV files (Harper and Konstan, 2015, and the README of each).
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from marquee.config.movielens_names import GENRES, OCCUPATIONS
from marquee.data import movielens
from marquee.data.rating_rows import Columns, Location, RatingRow, read_header, read_separated
from marquee.errors import TrainingDataError

Side: TypeAlias = "dict[str, dict[str, str]]"

WHOLE_STARS, HALF_STARS = (1.0, 5.0), (0.5, 5.0)
CSV_RATINGS, CSV_MOVIES = ["userId", "movieId", "rating", "timestamp"], ["movieId", "title", "genres"]
_COLUMNS = Columns(0, 1, 2, 3)
_CSV_RELEASES = re.compile(r"ml-(20m|25m|32m|latest-small|latest)\b", re.IGNORECASE)
_GENRES = ("unknown", *GENRES)  # The order of the flags in u.item.
_NO_GENRES = "(no genres listed)"
# Ages of users.dat are the lower ends of bands; the first band ends at 17.
_YOUNGEST, _UNDER_18 = "1", "17"


@dataclass(frozen=True, slots=True)
class RatingSource:
    """A recognized data set.

    ``ratings`` yields the rows of ``file``, with the ids of the source; ``movies`` and ``users`` are side information
    by those ids. ``movie_ids`` has other ids for the movies of the source.
    """

    name: str
    file: str
    scale: tuple[float, float]
    ratings: Callable[[], Iterator[RatingRow]]
    movies: Side
    users: Side
    movie_ids: Mapping[str, str]
    time_format: str = "s"
    likes: bool = False


def recognize(path: Path) -> RatingSource | None:
    """Return the MovieLens data set at ``path``, a directory or a ZIP archive; None if it is another file.

    Raises :class:`TrainingDataError` for a damaged archive, or one without MovieLens.
    """
    root = _find_root(path)
    if root is None:
        return None
    for marker, read in _READERS.items():
        if (root / marker).is_file():
            try:
                return read(root)
            except KeyError as error:
                raise TrainingDataError(f"{path}: {error.args[0]}") from error
    return None


def _find_root(path: Path) -> Location | None:
    """Return the directory with the tables: ``path`` itself, or its only subdirectory."""
    if path.is_dir():
        top: Location = path
    elif zipfile.is_zipfile(path):
        top = zipfile.Path(path)
    else:
        if path.suffix.lower() == ".zip":
            raise TrainingDataError(f"{path} is not a complete ZIP archive: download it again")
        return None
    candidates = [top, *(child for child in top.iterdir() if child.is_dir())]
    found = next((place for place in candidates if any((place / name).is_file() for name in _READERS)), None)
    if found is None and not path.is_dir():
        raise TrainingDataError(
            f"{path} holds no MovieLens data set: none of {', '.join(_READERS)} is in it. Unpack it and name the file"
        )
    return found


def _read_100k(root: Location) -> RatingSource:
    items = []
    for fields in _rows(root, "u.item", "|", 5 + len(_GENRES)):
        genres = [name for name, flag in zip(_GENRES, fields[5:], strict=True) if flag == "1"]
        items.append((fields[0], fields[1], fields[2][-4:], " ".join(genres)))
    users: Side = {}
    if (root / "u.user").is_file():
        for user, age, gender, occupation, code in _rows(root, "u.user", "|", 5):
            users[user] = {"age": age, "gender": gender, "occupation": occupation, "zip": code}
    return _source("MovieLens 100K", root / "u.data", WHOLE_STARS, "\t", 0, items, users)


def _read_dat(root: Location) -> RatingSource:
    """Read 1M, which has ``users.dat``, or 10M, which has half stars and no table of users."""
    items = [(number, title, "", _genres(genres)) for number, title, genres in _rows(root, "movies.dat", "::", 3)]
    users: Side = {}
    is_1m = (root / "users.dat").is_file()
    if is_1m:
        for user, gender, age, occupation, code in _rows(root, "users.dat", "::", 5):
            known = occupation.isdecimal() and int(occupation) < len(OCCUPATIONS)
            users[user] = {
                "age": _UNDER_18 if age == _YOUNGEST else age,
                "gender": gender,
                "occupation": OCCUPATIONS[int(occupation)] if known else "",
                "zip": code,
            }
    name, scale = ("MovieLens 1M", WHOLE_STARS) if is_1m else ("MovieLens 10M", HALF_STARS)
    return _source(name, root / "ratings.dat", scale, "::", 0, items, users)


def _read_csv(root: Location) -> RatingSource | None:
    """Read 20M, 25M, 32M or a latest release; None if the headers differ."""
    ratings, movies = root / "ratings.csv", root / "movies.csv"
    if read_header(ratings, ",") != CSV_RATINGS or not movies.is_file() or read_header(movies, ",") != CSV_MOVIES:
        return None
    items = [(number, title, "", _genres(genres)) for number, title, genres in _rows(root, "movies.csv", ",", 3)[1:]]
    return _source(_csv_name(root), ratings, HALF_STARS, ",", 1, items, {})


def _csv_name(root: Location) -> str:
    """Return the release of a data set in CSV files, from its README or the name of its directory."""
    readme = next((root / name for name in ("README.txt", "README.html") if (root / name).is_file()), None)
    text = f"{root} {_decode(readme)[:2000] if readme else ''}"
    found = _CSV_RELEASES.findall(text)
    release = found[-1].lower() if found else "CSV"
    return f"MovieLens {release.upper() if release.endswith('m') else release}"


def _source(
    name: str,
    ratings: Location,
    scale: tuple[float, float],
    separator: str,
    skipped: int,
    items: Sequence[tuple[str, str, str, str]],
    users: Side,
) -> RatingSource:
    catalog = movielens.build_catalog(items)
    movies = {
        number: {"title": title, "year": year, "genres": genres, "source_id": number}
        for number, (_, title, year, genres) in catalog.items()
    }
    return RatingSource(
        name,
        ratings.name,
        scale,
        lambda: read_separated(ratings, separator, _COLUMNS, len(_COLUMNS), skipped),
        movies,
        users,
        {number: row[0] for number, row in catalog.items()},
    )


def _rows(root: Location, name: str, separator: str, count: int) -> list[list[str]]:
    """Return the rows of a side table. Raises ``KeyError``, whose message describes the problem."""
    path = root / name
    if not path.is_file():
        raise KeyError(f"{name} is missing: the data set is not complete; unpack the archive again")
    text = _decode(path)
    if separator == ",":
        rows = list(csv.reader(io.StringIO(text, newline="")))
    else:
        rows = [line.split(separator) for line in text.splitlines()]
    rows = [row for row in rows if any(row)]
    wrong = next((number for number, row in enumerate(rows, 1) if len(row) != count), None)
    if wrong is not None:
        raise KeyError(f"{name}, row {wrong}: {len(rows[wrong - 1])} fields, not {count}; unpack the archive again")
    return rows


def _decode(path: Location) -> str:
    """Return a text in UTF-8, or in Latin-1 as the older data sets."""
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _genres(text: str) -> str:
    """Return genres separated by spaces, as :func:`~marquee.data.movielens.build_catalog` takes them."""
    return "" if text.strip() == _NO_GENRES else text.strip().replace("|", " ")


_READERS: dict[str, Callable[[Location], RatingSource | None]] = {
    "u.data": _read_100k,
    "ratings.dat": _read_dat,
    "ratings.csv": _read_csv,
}
