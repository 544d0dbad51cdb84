"""Tables and arrays as files that are the same bytes whenever they hold the same.

Parquet without a word on who wrote it when; NumPy's own format for arrays; JSON with sorted names. A hash of
such a file is therefore a hash of its content, as long as the libraries are the same versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from marquee.errors import TrainingDataError
from marquee.config.atomic_file import atomic_path

Document = TypeVar("Document", bound=msgspec.Struct)

INTERACTIONS = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("movie_id", pa.string(), nullable=False),
        pa.field("value", pa.float64(), nullable=False),
        pa.field("time", pa.int64(), nullable=False),  # microseconds since 1970, UTC
    ]
)


def write_interactions(path: Path, frame: pd.DataFrame) -> None:
    """A frame of user_id, movie_id, value and time."""
    columns = {name: frame[name].to_numpy() for name in INTERACTIONS.names}
    _write(path, pa.table(columns, schema=INTERACTIONS))


def read_interactions(path: Path) -> pd.DataFrame:
    """The frame that was written; raises :class:`TrainingDataError` where its schema is another."""
    table = _read(path)
    if not table.schema.equals(INTERACTIONS):
        raise TrainingDataError(
            f"{path} should have the columns {_described(INTERACTIONS)}, and has {_described(table.schema)}"
        )
    frame: pd.DataFrame = table.to_pandas()
    return frame.astype({"user_id": "object", "movie_id": "object", "value": "float64", "time": "int64"})


def write_texts(path: Path, key: str, rows: Mapping[str, Mapping[str, str]]) -> None:
    """Rows of text by the column ``key``, in the order of it; "" where a row lacks a column."""
    names = sorted({name for row in rows.values() for name in row} - {key})
    ids = sorted(rows)
    columns = {key: ids, **{name: [rows[i].get(name, "") for i in ids] for name in names}}
    _write(path, pa.table({name: pa.array(column, pa.string()) for name, column in columns.items()}))


def read_texts(path: Path, key: str) -> dict[str, dict[str, str]]:
    """The rows that were written, by ``key``."""
    return {row[key]: row for row in _read(path).to_pylist()}


def write_json(path: Path, value: Any) -> None:
    """``value`` with its names sorted, indented, and put in place whole."""
    data = msgspec.json.format(msgspec.json.encode(value, order="deterministic"), indent=2)
    with atomic_path(path) as aside:
        aside.write_bytes(data + b"\n")


def read_json(path: Path, kind: type[Document]) -> Document:
    """A document that was written, whose only optional values are numbers: JSON has null for NaN."""
    try:
        return msgspec.convert(_with_nan(msgspec.json.decode(path.read_bytes())), kind)
    except (OSError, msgspec.MsgspecError) as error:
        raise TrainingDataError(f"{path} is no document that can be read: {error}") from error


def write_array(path: Path, array: np.ndarray) -> None:
    """One array, never a pickle."""
    with path.open("wb") as out:
        np.save(out, np.ascontiguousarray(array), allow_pickle=False)


def read_array(path: Path) -> np.ndarray:
    """The array that was written."""
    array: np.ndarray = np.load(path, allow_pickle=False)
    return array


def _with_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_nan(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_with_nan(part) for part in value]
    return float("nan") if value is None else value


def _write(path: Path, table: pa.Table) -> None:
    pq.write_table(table, path, compression="zstd", write_statistics=False)


def _read(path: Path) -> pa.Table:
    try:
        return pq.read_table(path, memory_map=False)
    except (OSError, pa.ArrowInvalid) as error:
        raise TrainingDataError(f"{path} is no Parquet table that can be read: {error}") from error


def _described(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)
