"""Frames of interactions, with encoded ids.

The columns are user_id and movie_id (categories in order of their text), value (float64) and time (int64, microseconds
since 1970, UTC). A frame takes 24 bytes for each row, plus the text of each distinct id.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

IDS = ("user_id", "movie_id")
COLUMNS = (*IDS, "value", "time")

Codes: TypeAlias = NDArray[np.int32]


class FrameBuilder:
    """Rows in chunks, of which only the encoded columns are kept."""

    def __init__(self) -> None:
        self._codes: tuple[dict[str, int], ...] = ({}, {})
        self._chunks: list[tuple[np.ndarray, ...]] = []

    def add(self, rows: Sequence[tuple[str, str, float, int]]) -> None:
        """Add rows of user_id, movie_id, value and time."""
        *ids, values, times = zip(*rows, strict=True)
        encoded = (_encode(column, codes) for column, codes in zip(ids, self._codes, strict=True))
        self._chunks.append((*encoded, np.array(values, np.float64), np.array(times, np.int64)))

    def add_columns(self, ids: Sequence[tuple[Codes, Sequence[str]]], values: np.ndarray, times: np.ndarray) -> None:
        """Add rows as columns; ``ids`` has the codes and the distinct ids of the users, then of the movies."""
        encoded = (_encode(known, codes)[rows] for (rows, known), codes in zip(ids, self._codes, strict=True))
        self._chunks.append((*encoded, values, times))

    def build(self) -> pd.DataFrame:
        """Return the frame of all rows, in the order in which they were added."""
        if not self._chunks:
            return empty_interactions()
        users, items, values, times = (np.concatenate(parts) for parts in zip(*self._chunks, strict=True))
        ids = (to_categories(codes, list(known)) for codes, known in zip((users, items), self._codes, strict=True))
        return pd.DataFrame(dict(zip(COLUMNS, (*ids, values, times), strict=True)), copy=False)


def empty_interactions() -> pd.DataFrame:
    """Return a frame with the columns and no rows."""
    nothing = np.empty(0)
    ids = {name: to_categories(nothing.astype(np.int32), []) for name in IDS}
    return pd.DataFrame({**ids, "value": nothing, "time": nothing.astype(np.int64)})


def to_categories(codes: Codes, ids: Sequence[str]) -> pd.Categorical:
    """Return the column ``ids[codes]``, with the distinct ``ids`` in order of their text as its categories."""
    in_order = sorted(range(len(ids)), key=ids.__getitem__)
    rank = np.empty(len(ids), np.int32)
    rank[in_order] = np.arange(len(ids), dtype=np.int32)
    return pd.Categorical.from_codes(rank[codes], pd.Index([ids[i] for i in in_order], dtype=object))


def id_column(frame: pd.DataFrame, name: str) -> pd.Categorical:
    """Return a column of ids as categories, without unused ones. A column of text is encoded."""
    return pd.Categorical(frame[name]).remove_unused_categories()


def distinct_ids(frames: Iterable[pd.DataFrame], name: str) -> list[str]:
    """Return the ids in a column of the frames, in order of their text."""
    return sorted({id_ for frame in frames for id_ in id_column(frame, name).categories})


def row_numbers(column: pd.Categorical, ids: Sequence[str]) -> Codes:
    """Return the position in ``ids`` of each row's id, [n]. ``ids`` must contain all of them."""
    position = pd.Index(list(ids), dtype=object).get_indexer(column.categories).astype(np.int32)
    numbers: Codes = position[column.codes]
    return numbers


def concatenate(*frames: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of all frames in order, numbered from 0, with common categories."""
    filled = [frame for frame in frames if not frame.empty]
    if not filled:
        return empty_interactions()
    if len(filled) == 1:
        return filled[0].reset_index(drop=True)
    columns: dict[str, ArrayLike | pd.Categorical] = {}
    for name in IDS:
        ids = distinct_ids(filled, name)
        codes = np.concatenate([row_numbers(id_column(frame, name), ids) for frame in filled])
        columns[name] = pd.Categorical.from_codes(codes, pd.Index(ids, dtype=object))
    for name, kind in (("value", np.float64), ("time", np.int64)):
        columns[name] = np.concatenate([frame[name].to_numpy(kind) for frame in filled])
    return pd.DataFrame(columns, copy=False)


def pair_numbers(frames: Sequence[pd.DataFrame]) -> tuple[list[NDArray[np.int64]], list[str]]:
    """Return a number for each row's pair of ids, by frame, and the movies in order of their text.

    The numbers increase with the text of the user, then of the movie; modulo the number of movies they are the movie.
    """
    users, movies = (distinct_ids(frames, name) for name in IDS)
    pairs = []
    for frame in frames:
        numbers = row_numbers(id_column(frame, "user_id"), users).astype(np.int64) * len(movies)
        numbers += row_numbers(id_column(frame, "movie_id"), movies)
        pairs.append(numbers)
    return pairs, movies


def _encode(ids: Sequence[str], codes: dict[str, int]) -> Codes:
    return np.fromiter((codes.setdefault(id_, len(codes)) for id_ in ids), np.int32, len(ids))
