"""CSV tables with a header row, read as text.

The text is UTF-8, with or without a byte order mark. Columns are separated by commas, or by semicolons or tabs if the
header has no comma. Everything else is refused with the file, the line numbers and the first wrong rows.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO, TypeVar

from marquee.errors import TrainingDataError

Row = dict[str, str]
Parsed = TypeVar("Parsed")
Synonyms = Mapping[str, Sequence[str]]

_EXAMPLES = 3
_MAX_SHOWN = 100


class WrongRows:
    """Rows of a table that cannot be read: their number and the first of them."""

    def __init__(self, path: Path, noun: str = "rows") -> None:
        self._path, self._noun = path, noun
        self._wrong = 0
        self._examples: list[str] = []

    def add(self, line: int, problem: str) -> None:
        """Add the row that ends in ``line``; ``problem`` says what is wrong with it."""
        self._wrong += 1
        if len(self._examples) < _EXAMPLES:
            self._examples.append(f"line {line}: {problem}")

    def raise_if_any(self, total: int) -> None:
        """Raise :class:`TrainingDataError` for the rows added so far, of ``total`` rows."""
        if self._wrong:
            raise TrainingDataError(
                f"{self._path}: {self._wrong} of {total} {self._noun} are unreadable "
                f"(the first: {'; '.join(self._examples)}). Fix or remove them"
            )


def read_csv(path: Path, columns: Iterable[str] = (), synonyms: Synonyms | None = None) -> Iterator[Row]:
    """Yield the rows of ``path`` by column name; see :func:`parse_csv`."""
    return parse_csv(path, lambda row: row, columns, synonyms)


def parse_csv(
    path: Path,
    parse: Callable[[Row], Parsed],
    columns: Iterable[str] = (),
    synonyms: Synonyms | None = None,
    noun: str = "rows",
) -> Iterator[Parsed]:
    """Yield ``parse(row)`` for each row of ``path``, which must have ``columns``.

    ``parse`` converts a row by column name, and raises ``ValueError`` with the problem for a wrong one. ``synonyms``
    are other names of a column, best first, in lower case and without punctuation. ``noun`` says in errors what the
    rows are.

    Raises :class:`TrainingDataError` if the file cannot be read, lacks a column, or has wrong rows. These are reported
    after the last row.
    """
    wrong, total = WrongRows(path, noun), 0
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter=_delimiter(file), strict=False)
            names = rename(next(reader, []), synonyms or {})
            check_columns(path, names, columns)
            for fields in filter(None, reader):
                total += 1
                try:
                    yield parse(_to_row(names, fields))
                except ValueError as error:
                    wrong.add(reader.line_num, str(error))
    except OSError as error:
        raise unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise _not_utf8(path) from error
    except csv.Error as error:
        raise TrainingDataError(f"{path}, line {reader.line_num}: {error}; fix or remove the row") from error
    wrong.raise_if_any(total)


def check_columns(path: Path, present: Iterable[str], required: Iterable[str]) -> None:
    """Raise :class:`TrainingDataError` that names the columns of ``required`` missing in ``present``."""
    required, columns = tuple(required), tuple(present)
    missing = [column for column in required if column not in columns]
    if missing:
        found = f"it has {', '.join(columns)}" if columns else "it is empty"
        raise TrainingDataError(
            f"{path} has no column {', '.join(missing)}; it needs the columns {', '.join(required)}; {found}"
        )


def unreadable(path: Path, error: OSError) -> TrainingDataError:
    """Return the error for a table that cannot be read because of ``error``."""
    return TrainingDataError(f"{path} cannot be read ({error}): `marquee data fetch` writes it")


def _delimiter(file: TextIO) -> str:
    header = file.readline()
    file.seek(0)
    return next((sign for sign in ",;\t" if sign in header), ",")


def rename(header: Sequence[str], synonyms: Synonyms) -> list[str]:
    """Return the header with the names of ``synonyms`` where it has no column of that name itself."""
    names = [name.strip() for name in header]
    plain = [re.sub(r"[^a-z0-9]", "", name.lower()) for name in names]
    for column, others in synonyms.items():
        if column in names:
            continue
        candidates = (column.replace("_", ""), *others)
        position = next((plain.index(other) for other in candidates if other in plain), None)
        if position is not None:
            names[position], plain[position] = column, ""
    return names


def _to_row(names: Sequence[str], fields: Sequence[str]) -> Row:
    if len(fields) != len(names):
        raise ValueError(
            f"{len(fields)} fields where the header has {len(names)}: {_shorten(fields)} "
            "(quote a value that holds a separator)"
        )
    if any("\0" in field for field in fields):
        raise ValueError(f"a NUL character: {_shorten(fields)}")
    return dict(zip(names, fields, strict=True))


def _shorten(fields: Sequence[str]) -> str:
    return repr(",".join(fields)[:_MAX_SHOWN])


def _not_utf8(path: Path) -> TrainingDataError:
    """Return the error for a table in another encoding, with its first wrong line."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                shown = line.strip()[:_MAX_SHOWN].decode("latin-1")
                return TrainingDataError(
                    f"{path} is not UTF-8: line {number} is {shown!r} if read as Latin-1. Convert it, for "
                    f"instance with `iconv -f latin1 -t utf-8 {path.name}`"
                )
    return TrainingDataError(f"{path} is not UTF-8; convert it with `iconv`")
