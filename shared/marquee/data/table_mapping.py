"""Import of a CSV or Parquet table of ratings from another system, with a mapping of its columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from marquee.config.base_data import LIKES_SCALE, RATING_SYNONYMS, SIDE_SYNONYMS, parse_time
from marquee.config.csv_file import check_columns, read_csv, rename
from marquee.data.movielens_formats import RatingSource, Side
from marquee.data.rating_rows import PARQUET_SUFFIXES, Columns, read_header, read_parquet, read_separated, to_text
from marquee.errors import TrainingDataError

FIELDS = {"user_id": "user", "movie_id": "movie", "rating": "rating", "time": "time"}
_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_SEPARATORS = ("::", "\t", ";", "|", ",")


@dataclass(frozen=True, slots=True)
class TableMapping:
    """Columns, separator, times and scale of a table of ratings.

    ``columns``: name, or number from 1 if ``header`` is false, of user_id, movie_id, rating and time, where it is not
    one that is known. ``separator``: of a CSV table, "" to find it in the first row. ``time_format``: ``auto``, ``s``,
    ``ms``, ``us``, ``ns``, ``iso`` or a format of ``strptime``. ``scale``: lowest and highest rating. ``likes``: the
    ratings are likes and dislikes; without a rating column each row is a like.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    separator: str = ""
    header: bool = True
    time_format: str = "auto"
    scale: tuple[float, float] = (1.0, 5.0)
    likes: bool = False


def open_table(path: Path, mapping: TableMapping, movies: Path | None, users: Path | None) -> RatingSource:
    """Return the source of ``path`` with the side information of the tables ``movies`` and ``users``.

    Raises :class:`TrainingDataError` if a file cannot be read or a column is missing.
    """
    is_parquet = path.suffix.lower() in PARQUET_SUFFIXES
    if is_parquet:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            header = pq.read_schema(path).names
        except (OSError, pa.ArrowException) as error:
            raise TrainingDataError(f"{path} cannot be read as a Parquet table: {error}") from error
        separator = ","
    else:
        separator = mapping.separator or _find_separator(path)
        header = read_header(path, separator)
        if not header:
            raise TrainingDataError(f"{path} is empty: it needs a row for each rating")
        if not mapping.header:
            header = [str(number) for number in range(1, len(header) + 1)]
    names = _find_columns(path, header, mapping)
    if is_parquet:
        found = {FIELDS[name]: column for name, column in names.items()}
        read = lambda: read_parquet(path, found)  # noqa: E731
    else:
        at = {name: header.index(column) for name, column in names.items()}
        columns = Columns(at["user_id"], at["movie_id"], at.get("rating"), at["time"])
        skipped = 1 if mapping.header else 0
        read = lambda: read_separated(path, separator, columns, len(header), skipped)  # noqa: E731
    return RatingSource(
        "Parquet" if is_parquet else "CSV",
        path.name,
        LIKES_SCALE if mapping.likes else mapping.scale,
        read,
        _read_side(movies, "movie_id"),
        _read_side(users, "user_id"),
        {},
        mapping.time_format,
        mapping.likes,
    )


def _find_separator(path: Path) -> str:
    """Return the separator that occurs most often in the first row."""
    fields = {separator: len(read_header(path, separator)) for separator in _SEPARATORS}
    return max(fields, key=lambda separator: fields[separator])


def _find_columns(path: Path, header: Sequence[str], mapping: TableMapping) -> dict[str, str]:
    """Return the table's column of each field."""
    if unknown := set(mapping.columns) - set(FIELDS):
        raise TrainingDataError(
            f"--columns names {', '.join(sorted(unknown))}; the columns to name are {', '.join(FIELDS)}"
        )
    check_columns(path, header, mapping.columns.values())
    usual = rename(header, {name: RATING_SYNONYMS[name] for name in FIELDS if name not in mapping.columns})
    found = {**{name: header[usual.index(name)] for name in FIELDS if name in usual}, **mapping.columns}
    missing = [name for name in FIELDS if name not in found and not (name == "rating" and mapping.likes)]
    if missing:
        example = ",".join(f"{name}={header[0]}" for name in missing[:1])
        raise TrainingDataError(
            f"{path} has no column that is known as {', '.join(missing)}; it has {', '.join(header)}. "
            f"Name it, such as --columns {example}"
            + ("; a table of likes alone needs --scale likes" if "rating" in missing else "")
        )
    return found


def _read_side(path: Path | None, key: str) -> Side:
    """Return the rows of a side table by ``key``, the first of each id."""
    if path is None:
        return {}
    rows: Iterable[dict[str, str]]
    if path.suffix.lower() in PARQUET_SUFFIXES:
        import pyarrow.parquet as pq

        table = pq.read_table(path)
        names = rename(table.column_names, SIDE_SYNONYMS[key])
        check_columns(path, names, [key])
        rows = (
            {name: to_text(value) for name, value in zip(names, row.values(), strict=True)} for row in table.to_pylist()
        )
    else:
        rows = read_csv(path, [key], SIDE_SYNONYMS[key])
    side: Side = {}
    for row in rows:
        side.setdefault(row[key].strip(), {name: value for name, value in row.items() if name != key})
    return side


def log_movie_id(movie_id: str) -> str:
    """Return ``movie_id`` in the form of the event log's text: lower case, and ``+`` at the end."""
    return re.sub(r"[^a-z0-9+_.*-]", "-", movie_id.lower())[:120] + "+"


def create_time_parser(time_format: str) -> Callable[[str], int]:
    """Return a function that parses a time to whole seconds since 1970; a time without a zone is in UTC."""
    if time_format == "auto":
        return lambda text: parse_time(text)[0]
    if time_format in _UNITS:
        unit = _UNITS[time_format]
        return lambda text: int(text) // unit if text.lstrip("-").isdecimal() else int(float(text) // unit)

    def parse(text: str) -> int:
        iso = time_format == "iso"
        time = datetime.fromisoformat(text) if iso else datetime.strptime(text, time_format)
        return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())

    return parse
