"""Reader of interactions from the CSV of a database's COPY command, by columns."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv

from marquee.data.interaction_frames import COLUMNS, IDS, FrameBuilder

_CHUNK_BYTES = 16 << 20
_TEXT = pa.dictionary(pa.int32(), pa.string())


class CsvReader:
    """File-like sink of CSV rows that keeps encoded columns: 24 bytes for each row, and each distinct id once."""

    def __init__(self, chunk_bytes: int = _CHUNK_BYTES) -> None:
        self._builder = FrameBuilder()
        self._chunk_bytes = chunk_bytes
        self._rows: list[bytes] = []
        self._bytes = 0

    def write(self, data: bytes) -> None:
        """Add complete rows of user_id, movie_id, value, and time in microseconds since 1970."""
        self._rows.append(data)
        self._bytes += len(data)
        if self._bytes >= self._chunk_bytes:
            self._parse()

    def finish(self) -> pd.DataFrame:
        """Return the frame of all rows, in the order in which they were written."""
        self._parse()
        return self._builder.build()

    def _parse(self) -> None:
        if not self._rows:
            return
        content = b"".join(self._rows)
        self._rows, self._bytes = [], 0
        table = csv.read_csv(
            pa.BufferReader(content),
            csv.ReadOptions(use_threads=False, block_size=len(content) + 1, column_names=list(COLUMNS)),
            csv.ParseOptions(newlines_in_values=True),
            csv.ConvertOptions(
                column_types={**dict.fromkeys(IDS, _TEXT), "value": pa.float64(), "time": pa.int64()},
                null_values=[],
                strings_can_be_null=False,
            ),
        )
        self._builder.add_columns(
            [_encoded(table.column(name)) for name in IDS],
            table.column("value").to_numpy(),
            table.column("time").to_numpy(),
        )


def _encoded(column: pa.ChunkedArray) -> tuple[np.ndarray, list[str]]:
    array = column.unify_dictionaries().combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        (array,) = array.chunks
    return array.indices.to_numpy(zero_copy_only=False), array.dictionary.to_pylist()
