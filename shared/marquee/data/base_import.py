"""Import of ratings as base data. Each row is either written or refused with a reason, and a report counts both."""

from __future__ import annotations

import csv
import sys
from array import array
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np

from marquee.config.atomic_file import atomic_directory
from marquee.config.base_data import (
    CAUSES,
    IMPLAUSIBLE_TIME,
    IMPORT_FILE,
    INVALID_ID,
    MOVIES_FILE,
    RATING_COLUMNS,
    RATINGS_FILE,
    USERS_FILE,
    is_plausible,
    parse_rating,
)
from marquee.config.opaque_ids import is_valid_id
from marquee.data.dvc_remote import hash_file
from marquee.data.movielens_formats import RatingSource, Side
from marquee.data.rating_rows import RatingRow
from marquee.data.table_mapping import create_time_parser, log_movie_id
from marquee.errors import TrainingDataError

REFUSED_FILE = "refused.csv"
_LIKES = {"1", "true", "yes", "like", "liked", "up", "+", "+1"}
_DISLIKES = {"0", "false", "no", "dislike", "disliked", "down", "-", "-1"}
_USER_COLUMNS = ("age", "gender", "occupation", "zip", "genres")
_MOVIE_COLUMNS = ("title", "year", "genres")
# Reasons for which a row is refused.
FIELDS, RATING, SCALE, TIME = "fields", "rating", "scale", "unreadable time"
REASONS = {
    FIELDS: "the number of fields differs from that of the table",
    RATING: "the rating is not a number, a like or a dislike",
    SCALE: "the rating is outside the scale",
    TIME: "the time does not have the format of the table",
    **CAUSES,
}


class ImportReport(msgspec.Struct, frozen=True):
    """Content of ``import.json``.

    - ``rows``: number of rows in the source; each was either written or refused
    - ``refused``: number of rows by reason (:data:`REASONS`)
    - ``repeated``: number of ratings whose pair has another rating; training takes the newest
    - ``movies``: number of movies with a rating; ``listed``: number of movies in the catalog
    - ``first``, ``last``: times of the oldest and the newest rating
    - ``values``: number of ratings by value
    - ``sha256``: digests of the written files, by name
    """

    format: str
    source: str
    scale: tuple[float, float]
    likes: bool
    rows: int
    ratings: int
    refused: dict[str, int]
    repeated: int
    users: int
    movies: int
    listed: int
    first: datetime
    last: datetime
    values: dict[str, int]
    sha256: dict[str, str]


class _Refused(Exception):
    """A row that cannot be imported: the reason, and a description of the invalid value."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def import_ratings(source: RatingSource, name: str, target: Path, *, log_ids: bool = False) -> ImportReport:
    """Write ``source`` as base data to the directory ``target``, which is replaced as a whole.

    A refused row is kept in ``refused.csv`` with its line and reason. ``name`` is what was imported, for the report.
    With ``log_ids`` ids have the form that the text of the event log needs: users are numbered, movies end in ``+``,
    and ``ids.csv`` has the original ones. Raises :class:`TrainingDataError` if no row could be imported.
    """
    with atomic_directory(target) as out:
        writer = _ImportWriter(source, out, log_ids)
        writer.write_ratings()
        if not writer.ratings:
            found = "; ".join(f"{rows} rows: {REASONS[reason]}" for reason, rows in writer.refused.items())
            examples = "; ".join(writer.examples)
            raise TrainingDataError(
                f"{source.file}: no row could be imported ({found or 'there are none'}). {examples}".strip()
            )
        writer.write_side_tables()
        report = writer.report(name)
        (out / IMPORT_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    return report


class _Ids:
    """Mapping of the source's ids of users or movies to the ids that are written."""

    def __init__(self, known: Mapping[str, str], convert: Callable[[str, int], str] | None) -> None:
        self.written: dict[str, str] = {}
        self._numbers: dict[str, int] = {}
        self._known, self._convert = known, convert
        self._taken = set(known.values())

    def __getitem__(self, source_id: str) -> str:
        found = self.written.get(source_id)
        return found if found is not None else self._add(source_id)

    def _add(self, source_id: str) -> str:
        written = self._known.get(source_id, "")
        if not written:
            written = self._convert(source_id, len(self.written) + 1) if self._convert else source_id
            while written in self._taken:
                written += "+"
            self._taken.add(written)
        self._numbers[source_id] = len(self._numbers)
        self.written[source_id] = written
        return written

    def number(self, source_id: str) -> int:
        """Return the number of a written id, from 0."""
        return self._numbers[source_id]


class _ImportWriter:
    """One import: counts, and the files in the directory ``out``."""

    def __init__(self, source: RatingSource, out: Path, log_ids: bool) -> None:
        self._source, self._out, self._log_ids = source, out, log_ids
        numbered = (lambda text, number: text if _is_number(text) else f"9{number:09}") if log_ids else None
        named = (lambda text, _: log_movie_id(text)) if log_ids or source.movie_ids else None
        self._users, self._movies = _Ids({}, numbered), _Ids(source.movie_ids, named)
        self._parse_time = create_time_parser(source.time_format)
        # Eight bytes for each rating; a set of pairs would take a hundred.
        self._pairs = array("q")
        self._first, self._last = sys.maxsize, -sys.maxsize
        self._values: Counter[float] = Counter()
        self.rows = self.ratings = self._rated_movies = 0
        self.refused: Counter[str] = Counter()
        self.examples: list[str] = []

    def write_ratings(self) -> None:
        """Write ``ratings.csv`` and ``refused.csv``."""
        with (
            (self._out / RATINGS_FILE).open("w", newline="", encoding="utf-8") as kept,
            # A row may hold bytes that are not valid text.
            (self._out / REFUSED_FILE).open("w", newline="", encoding="utf-8", errors="backslashreplace") as refused,
        ):
            ratings, problems = (csv.writer(file, lineterminator="\n") for file in (kept, refused))
            ratings.writerow(RATING_COLUMNS)
            problems.writerow(("file", "line", "reason", "detail", "row"))
            for row in self._source.ratings():
                self.rows += 1
                try:
                    ratings.writerow(self._convert(row))
                except _Refused as error:
                    self.refused[error.reason] += 1
                    if len(self.examples) < 3:
                        self.examples.append(f"Line {row.line}: {error}")
                    problems.writerow((self._source.file, row.line, error.reason, error, row.text))
        self._rated_movies = len(self._movies.written)

    def _convert(self, row: RatingRow) -> tuple[str, str, str, int]:
        if row.problem:
            raise _Refused(FIELDS, row.problem)
        for kind, text in (("user", row.user), ("movie", row.movie)):
            if not is_valid_id(text):
                raise _Refused(INVALID_ID, f"{kind} {text!r}")
        rating, time = self._parse_rating(row.rating), self._to_seconds(row.time)
        user, movie = self._users[row.user], self._movies[row.movie]
        self.ratings += 1
        self._pairs.append(self._users.number(row.user) << 32 | self._movies.number(row.movie))
        self._values[rating] += 1
        self._first, self._last = min(self._first, time), max(self._last, time)
        return user, movie, f"{rating:.12g}", time

    def _parse_rating(self, text: str) -> float:
        if self._source.likes:
            return _parse_like(text)
        try:
            rating = parse_rating(text)
        except ValueError as error:
            raise _Refused(RATING, str(error)) from error
        low, high = self._source.scale
        if not low <= rating <= high:
            raise _Refused(SCALE, f"rating {rating:g} on a scale of {low:g} to {high:g}")
        return rating

    def _to_seconds(self, text: str) -> int:
        try:
            time = self._parse_time(text)
        except (ValueError, OverflowError) as error:
            raise _Refused(TIME, f"time {text!r}: {error}") from error
        if not is_plausible(time):
            raise _Refused(IMPLAUSIBLE_TIME, f"time {text!r}")
        return time

    def write_side_tables(self) -> None:
        """Write ``movies.csv`` with all movies, ``users.csv`` with the known users, and the original ids."""
        # A listed movie without ratings is part of the catalog.
        listed = [*self._source.movies, *(movie for movie in self._movies.written if movie not in self._source.movies)]
        movies = {self._movies[movie]: self._source.movies.get(movie, {}) for movie in listed if is_valid_id(movie)}
        users = {
            self._users.written[user]: row for user, row in self._source.users.items() if user in self._users.written
        }
        self._write_side(MOVIES_FILE, "movie_id", movies, _MOVIE_COLUMNS)
        self._write_side(USERS_FILE, "user_id", users, _USER_COLUMNS)
        if self._log_ids:
            with (self._out / "ids.csv").open("w", newline="", encoding="utf-8") as file:
                table = csv.writer(file, lineterminator="\n")
                table.writerow(("kind", "id", "source_id"))
                for kind, ids in (("user", self._users), ("movie", self._movies)):
                    table.writerows((kind, written, original) for original, written in ids.written.items())

    def _write_side(self, name: str, key: str, rows: Side, usual: tuple[str, ...]) -> None:
        present = dict.fromkeys(column for row in rows.values() for column in row if column and column != key)
        columns = [*usual, *(column for column in present if column not in usual)]
        with (self._out / name).open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow((key, *columns))
            table.writerows((id_, *(_clean(row.get(column, "")) for column in columns)) for id_, row in rows.items())

    def report(self, name: str) -> ImportReport:
        """Return the report, with the digests of the files written so far."""
        first, last = (datetime.fromtimestamp(time, UTC) for time in (self._first, self._last))
        return ImportReport(
            format=self._source.name,
            source=name,
            scale=self._source.scale,
            likes=self._source.likes,
            rows=self.rows,
            ratings=self.ratings,
            refused=dict(self.refused),
            repeated=self.ratings - len(np.unique(np.frombuffer(self._pairs, np.int64))),
            users=len(self._users.written),
            movies=self._rated_movies,
            listed=len(self._movies.written),
            first=first,
            last=last,
            values={f"{value:g}": count for value, count in sorted(self._values.items())},
            sha256={path.name: hash_file(path, "sha256") for path in sorted(self._out.iterdir())},
        )


def _parse_like(text: str) -> float:
    """Return 1 for a like or an empty text, 0 for a dislike."""
    word = text.lower().removesuffix(".0")
    if word in _DISLIKES:
        return 0.0
    if word and word not in _LIKES:
        raise _Refused(RATING, f"{text!r} is neither a like such as {'1, true or like'} nor a dislike such as 0")
    return 1.0


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 20


def _clean(text: str) -> str:
    """Return a text without the characters that a CSV table of base data cannot hold."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()
