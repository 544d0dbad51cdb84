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
from marquee.data.interaction_frames import IDS, to_categories
from marquee.errors import TrainingDataError

Document = TypeVar("Document", bound=msgspec.Struct)

_ROW_GROUP = 1 << 20

INTERACTIONS = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("movie_id", pa.string(), nullable=False),
        pa.field("value", pa.float64(), nullable=False),
        pa.field("time", pa.int64(), nullable=False),  # microseconds since 1970, UTC
    ]
)


def write_interactions(path: Path, frame: pd.DataFrame) -> None:
    """Write a frame of user_id, movie_id, value and time. The ids become text a row group at a time."""
    ids = {name: pa.array(pd.Categorical(frame[name])) for name in IDS}
    numbers = {name: pa.array(frame[name].to_numpy()) for name in ("value", "time")}
    with pq.ParquetWriter(path, INTERACTIONS, compression="zstd", write_statistics=False) as writer:
        for start in range(0, max(1, len(frame)), _ROW_GROUP):
            columns = [column.slice(start, _ROW_GROUP).cast(pa.string()) for column in ids.values()]
            columns += [column.slice(start, _ROW_GROUP) for column in numbers.values()]
            writer.write_table(pa.table(columns, schema=INTERACTIONS), _ROW_GROUP)


def read_interactions(path: Path) -> pd.DataFrame:
    """Read a frame of user_id, movie_id, value and time; raises :class:`TrainingDataError` for another schema."""
    try:
        schema = pq.read_schema(path)
        if not schema.equals(INTERACTIONS):
            raise TrainingDataError(
                f"{path} should have the columns {_format_schema(INTERACTIONS)}; it has {_format_schema(schema)}"
            )
        table = pq.read_table(path, memory_map=False, read_dictionary=list(IDS))
    except (OSError, pa.ArrowInvalid) as error:
        raise TrainingDataError(f"{path} cannot be read as a Parquet table: {error}") from error
    ids = {name: _to_categories(table.column(name)) for name in IDS}
    return pd.DataFrame({**ids, **{name: table.column(name).to_numpy() for name in ("value", "time")}})


def write_texts(path: Path, key: str, rows: Mapping[str, Mapping[str, str]]) -> None:
    """Write rows of text, ordered by the column ``key``; "" where a row lacks a column."""
    names = sorted({name for row in rows.values() for name in row} - {key})
    ids = sorted(rows)
    columns = {key: ids, **{name: [rows[i].get(name, "") for i in ids] for name in names}}
    table = pa.table({name: pa.array(column, pa.string()) for name, column in columns.items()})
    pq.write_table(table, path, compression="zstd", write_statistics=False)


def read_texts(path: Path, key: str) -> dict[str, dict[str, str]]:
    """Read rows of text by ``key``. Raises :class:`TrainingDataError` for an unreadable file."""
    try:
        table = pq.read_table(path, memory_map=False)
    except (OSError, pa.ArrowInvalid) as error:
        raise TrainingDataError(f"{path} cannot be read as a Parquet table: {error}") from error
    return {row[key]: row for row in table.to_pylist()}


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


def _to_categories(column: pa.ChunkedArray) -> pd.Categorical:
    if not len(column):
        return to_categories(np.empty(0, np.int32), [])
    encoded = column.unify_dictionaries().combine_chunks()
    return to_categories(encoded.indices.to_numpy(zero_copy_only=False), encoded.dictionary.to_pylist())


def _format_schema(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)
