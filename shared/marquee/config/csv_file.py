"""CSV tables with a header row, read as text."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

from marquee.errors import TrainingDataError


def read_csv(path: Path, columns: Iterable[str] = ()) -> Iterator[dict[str, str]]:
    """Yield the rows of ``path`` by column name.

    Raises :class:`TrainingDataError` if the file cannot be read or lacks one of ``columns``.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            check_columns(path, reader.fieldnames or (), columns)
            yield from reader
    except OSError as error:
        raise unreadable(path, error) from error


def read_optional_csv(path: Path) -> list[dict[str, str]]:
    """Return the rows of ``path`` by column name, or an empty list if there is no such file."""
    return list(read_csv(path)) if path.is_file() else []


def check_columns(path: Path, present: Iterable[str], required: Iterable[str]) -> None:
    """Check that ``present`` has all columns of ``required``. Raises :class:`TrainingDataError` if any is missing."""
    required, columns = tuple(required), set(present)
    missing = [column for column in required if column not in columns]
    if missing:
        raise TrainingDataError(
            f"{path} has no column {', '.join(missing)}; it needs the columns {', '.join(required)}"
        )


def unreadable(path: Path, error: OSError) -> TrainingDataError:
    """Return the error for a table that cannot be read because of ``error``."""
    return TrainingDataError(f"{path} cannot be read ({error}): `marquee data fetch` writes it")
