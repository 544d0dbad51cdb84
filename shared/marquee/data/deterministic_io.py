"""Tables, arrays and JSON as files with deterministic bytes.

Parquet without writer metadata, NumPy's own format for arrays, JSON with sorted names. The hash of such a file is a
hash of its content, as long as the library versions are the same.
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

from marquee.config.atomic_file import atomic_path
from marquee.errors import TrainingDataError

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
    """Write a frame of user_id, movie_id, value and time."""
    columns = {name: frame[name].to_numpy() for name in INTERACTIONS.names}
    _write_table(path, pa.table(columns, schema=INTERACTIONS))


def read_interactions(path: Path) -> pd.DataFrame:
    """Read a frame of user_id, movie_id, value and time. Raises :class:`TrainingDataError` for another schema."""
    table = _read_table(path)
    if not table.schema.equals(INTERACTIONS):
        raise TrainingDataError(
            f"{path} should have the columns {_format_schema(INTERACTIONS)}; it has "
            f"{_format_schema(table.schema)}"
        )
    frame: pd.DataFrame = table.to_pandas()
    return frame.astype({"user_id": "object", "movie_id": "object", "value": "float64", "time": "int64"})


def write_texts(path: Path, key: str, rows: Mapping[str, Mapping[str, str]]) -> None:
    """Write rows of text, ordered by the column ``key``; "" where a row lacks a column."""
    names = sorted({name for row in rows.values() for name in row} - {key})
    ids = sorted(rows)
    columns = {key: ids, **{name: [rows[i].get(name, "") for i in ids] for name in names}}
    _write_table(path, pa.table({name: pa.array(column, pa.string()) for name, column in columns.items()}))


def read_texts(path: Path, key: str) -> dict[str, dict[str, str]]:
    """Read rows of text by ``key``."""
    return {row[key]: row for row in _read_table(path).to_pylist()}


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON with sorted names, atomically."""
    data = msgspec.json.format(msgspec.json.encode(value, order="deterministic"), indent=2)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data + b"\n")


def read_json(path: Path, kind: type[Document]) -> Document:
    """Read a document. JSON has null for NaN, so every null is read as NaN.

    Raises :class:`TrainingDataError` for an unreadable file or another structure.
    """
    try:
        return msgspec.convert(_nulls_to_nan(msgspec.json.decode(path.read_bytes())), kind)
    except (OSError, msgspec.MsgspecError) as error:
        raise TrainingDataError(f"{path} cannot be read as {kind.__name__}: {error}") from error


def write_array(path: Path, array: np.ndarray) -> None:
    """Write one array, without pickle."""
    with path.open("wb") as out:
        np.save(out, np.ascontiguousarray(array), allow_pickle=False)


def read_array(path: Path) -> np.ndarray:
    """Read one array."""
    array: np.ndarray = np.load(path, allow_pickle=False)
    return array


def _nulls_to_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _nulls_to_nan(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_nulls_to_nan(part) for part in value]
    return float("nan") if value is None else value


def _write_table(path: Path, table: pa.Table) -> None:
    pq.write_table(table, path, compression="zstd", write_statistics=False)


def _read_table(path: Path) -> pa.Table:
    try:
        return pq.read_table(path, memory_map=False)
    except (OSError, pa.ArrowInvalid) as error:
        raise TrainingDataError(f"{path} cannot be read as a Parquet table: {error}") from error


def _format_schema(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)
