"""Readers of rating rows from delimiter-separated text and Parquet files of other systems."""

from __future__ import annotations

import csv
import itertools
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from marquee.config.csv_file import check_columns
from marquee.errors import TrainingDataError

Location: TypeAlias = "Path | zipfile.Path"
"""A file or directory, also one within a ZIP archive."""

PARQUET_SUFFIXES = (".parquet", ".pq")
_MAX_SHOWN = 100


class RatingRow(NamedTuple):
    """One row of a source, as text.

    ``problem`` is the reason why the row could not be split into fields; ``text`` is the row as it was read.
    """

    line: int
    user: str = ""
    movie: str = ""
    rating: str = ""
    time: str = ""
    problem: str = ""
    text: str = ""


class Columns(NamedTuple):
    """Positions of a rating's fields in a row; None for a table of likes, which need no rating."""

    user: int
    movie: int
    rating: int | None
    time: int


def read_separated(
    path: Location, separator: str, columns: Columns, count: int | None, skipped: int = 0
) -> Iterator[RatingRow]:
    """Yield the rows of a table in UTF-8, after ``skipped`` rows of header.

    With a ``separator`` of one character, fields may be quoted; it may also be longer, such as ``::``. A row has a
    problem unless it has ``count`` fields, or with None at least the fields of ``columns``.
    """
    needed = count or max(number for number in columns if number is not None) + 1
    # Bytes that are not UTF-8 become lone surrogates, which no valid id has.
    with path.open("r", encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        for line, fields in itertools.islice(_split(file, separator), skipped, None):
            if isinstance(fields, str):
                yield RatingRow(line, problem=fields)
                continue
            text = separator.join(fields)
            if len(fields) < needed or (count and len(fields) != count):
                yield RatingRow(line, problem=f"{len(fields)} fields, not {needed}", text=text)
                continue
            rating = "" if columns.rating is None else fields[columns.rating].strip()
            user, movie, time = (fields[number].strip() for number in (columns.user, columns.movie, columns.time))
            yield RatingRow(line, user, movie, rating, time, text=text)


def read_header(path: Location, separator: str) -> list[str]:
    """Return the fields of the first row. Raises :class:`TrainingDataError` if the file cannot be read."""
    try:
        with path.open("r", encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            fields = next((fields for _, fields in _split(file, separator)), [])
    except OSError as error:
        raise TrainingDataError(f"{path} cannot be read: {error.strerror}") from error
    return [] if isinstance(fields, str) else [name.strip() for name in fields]


def read_parquet(path: Path, names: Mapping[str, str]) -> Iterator[RatingRow]:
    """Yield the rows of a Parquet file. ``names``: column of user, movie, time and perhaps rating.

    Raises :class:`TrainingDataError` if the file is not a Parquet table or lacks a column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as table:
            check_columns(path, table.schema_arrow.names, names.values())
            line = 0
            for batch in table.iter_batches(columns=list(names.values())):
                columns = {field: batch.column(name).to_pylist() for field, name in names.items()}
                for values in zip(*columns.values(), strict=True):
                    line += 1
                    texts = [to_text(value) for value in values]
                    yield RatingRow(line, **dict(zip(columns, texts, strict=True)), text=",".join(texts))
    except (OSError, pa.ArrowException) as error:
        raise TrainingDataError(f"{path} cannot be read as a Parquet table: {error}") from error


def to_text(value: Any) -> str:
    """Return a value of a Parquet column as text: whole numbers without a fraction, null as an empty text."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _split(file: Any, separator: str) -> Iterator[tuple[int, Sequence[str] | str]]:
    """Yield the line number and the fields of each row that is not blank, or the problem of an invalid row."""
    if len(separator) > 1:
        for line, text in enumerate(file, 1):
            if text.strip():
                yield line, text.rstrip("\r\n").split(separator)
        return
    reader = csv.reader(file, delimiter=separator)
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield reader.line_num, str(error)
            continue
        if fields:
            yield reader.line_num, fields
