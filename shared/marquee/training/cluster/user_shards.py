"""Shards: the ratings and watch sessions of some users, as one object that one task of a worker reads.

A shard holds consecutive buckets of the artifact's user store (:mod:`marquee.registry.user_store`), so that the blocks
of all shards in order are the whole file.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pandas as pd

from marquee.data.dataset import Dataset, Interactions
from marquee.data.splits import Split
from marquee.errors import PreconditionFailed
from marquee.registry.object_store.connect import connect
from marquee.registry.object_store.object_store import Content

if TYPE_CHECKING:
    from pyspark import RDD, SparkContext

RATING, WATCH_SESSION = 0, 1
_PARTS = {"ratings": RATING, "watch_sessions": WATCH_SESSION}


class Catalog(msgspec.Struct, frozen=True):
    """Item side of all shards: ids of the items, rating scale, and numbers of users, buckets and shards."""

    movie_ids: tuple[str, ...]
    rating_min: float
    rating_max: float
    n_users: int
    buckets: int
    shards: int

    def span(self, shard: int) -> tuple[int, int]:
        """Return the first bucket of a shard, and the one after its last."""
        first, last = (-(-number * self.buckets // self.shards) for number in (shard, shard + 1))
        return first, last


@dataclass(frozen=True, slots=True)
class Shard:
    """Data of some users; items are rows of the :class:`Catalog`. ``attributes`` are those of each user."""

    number: int
    user_ids: Sequence[str]
    attributes: Sequence[dict[str, str]]
    ratings: Interactions
    watch_sessions: Interactions

    def to_dataset(self, catalog: Catalog) -> Dataset:
        """Return the shard as a dataset of its own users and all items."""
        return Dataset(
            self.user_ids,
            catalog.movie_ids,
            self.ratings,
            self.watch_sessions,
            catalog.rating_min,
            catalog.rating_max,
        )

    def split(self, catalog: Catalog, cut: int) -> Split:
        """Return the ratings from the time ``cut`` on, held out from the rest, as ``splits.temporal_holdout`` does."""
        later = self.ratings.times >= cut
        train = self.to_dataset(catalog).without_ratings(later).watch_sessions_before(cut)
        return Split("held out", train, self.ratings.where(later))


@dataclass(frozen=True, slots=True)
class Staging:
    """Objects of one run, which the workers write and read: ``staging/<run>/`` in the object store at ``url``."""

    url: str
    run: str

    def name(self, file: str) -> str:
        """Return the object's name of a file of the run."""
        return f"staging/{self.run}/{file}"

    def hadoop_path(self, file: str) -> str:
        """Return the file's URL as Spark's own readers take it."""
        url = self.url.replace("s3://", "s3a://", 1) if self.url.startswith("s3://") else self.url
        return f"{url.rstrip('/')}/{self.name(file)}"

    def write(self, file: str, data: Content) -> None:
        """Write a file. One that a killed attempt of the same task has left is kept: it has the same content."""
        try:
            connect(self.url).put_new(self.name(file), data)
        except PreconditionFailed:
            pass

    def exists(self, file: str) -> bool:
        """Return whether a file was written."""
        return any(name == self.name(file) for name in connect(self.url).list(self.name(file)))

    def read(self, file: str) -> bytes:
        """Return the content of a file."""
        return connect(self.url).get(self.name(file)).data

    def delete(self) -> None:
        """Delete all files of the run."""
        store = connect(self.url)
        for name in list(store.list(self.name(""))):
            store.delete(name)


def write_shard(staging: Staging, number: int, rows: pd.DataFrame, users: pd.DataFrame) -> int:
    """Write the shard of ``rows`` (kind, user_id, item, value, time) and ``users`` (user_id, attributes as JSON).

    Returns its number of users.
    """
    ids = sorted(set(rows["user_id"]))
    position = pd.Index(ids, dtype=object)
    attributes = dict(zip(users["user_id"], users["attributes"], strict=True))
    arrays: dict[str, np.ndarray] = {}
    for part, kind in _PARTS.items():
        own = rows[rows["kind"] == kind]
        columns = {
            "users": position.get_indexer(own["user_id"]).astype(np.int32),
            "items": own["item"].to_numpy(np.int32),
            "values": own["value"].to_numpy(np.float64),
            "times": own["time"].to_numpy(np.int64),
        }
        order = np.lexsort((columns["items"], columns["users"], columns["times"]))
        arrays |= {f"{part}.{name}": column[order] for name, column in columns.items()}
    texts = [ids, [msgspec.json.decode(attributes.get(user_id, "{}")) for user_id in ids]]
    arrays["texts"] = np.frombuffer(msgspec.json.encode(texts), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # All are arrays.
    staging.write(_file_name(number), buffer.getvalue())
    return len(ids)


def read_shard(staging: Staging, shard: int) -> Shard:
    """Read a shard that :func:`write_shard` wrote."""
    with np.load(io.BytesIO(staging.read(_file_name(shard))), allow_pickle=False) as arrays:
        ids, attributes = msgspec.json.decode(arrays["texts"].tobytes())
        ratings, watch_sessions = (
            Interactions(**{field.name: arrays[f"{part}.{field.name}"] for field in fields(Interactions)})
            for part in _PARTS
        )
    return Shard(shard, ids, attributes, ratings, watch_sessions)


def open_shards(context: SparkContext, staging: Staging, shards: int) -> RDD[Shard]:
    """Return the shards, one a partition, kept by the workers; a lost one is read again."""
    from pyspark import StorageLevel

    numbers = context.parallelize(range(shards), shards)
    return numbers.map(partial(read_shard, staging)).persist(StorageLevel.MEMORY_AND_DISK)


def digest_shards(shards: RDD[Shard], catalog: Catalog) -> str:
    """Return the SHA-256 of the digests of all shards, in order."""
    digests = shards.map(partial(_digest, catalog)).collect()
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _digest(catalog: Catalog, shard: Shard) -> str:
    return shard.to_dataset(catalog).sha256()


def _file_name(shard: int) -> str:
    return f"shards/{shard:05}.npz"
