"""Shards: the ratings and watch sessions of some users, as one object that one task of a worker reads.

A shard holds consecutive buckets of the artifact's user store (:mod:`marquee.registry.user_store`), so that the blocks
of all shards in order are the whole file.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pandas as pd

from marquee.data.dataset import Dataset, Interactions
from marquee.data.interactions import WeightedInteractions
from marquee.data.splits import Split
from marquee.errors import PreconditionFailed
from marquee.registry.artifact import make_record
from marquee.registry.object_store.connect import connect
from marquee.registry.object_store.object_store import Content
from marquee.registry.trained_model import Histories, TrainedModel
from marquee.registry.user_store import BLOCKS, INDEX, UserRecord, append_users, write_users
from marquee.scoring.fold_in import FoldIn, Prior

if TYPE_CHECKING:
    from pyspark import RDD, SparkContext

RATING, WATCH_SESSION = 0, 1
_PARTS = {"ratings": RATING, "watch_sessions": WATCH_SESSION}
_CHUNK = 8 << 20


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


def attach_users(model: TrainedModel, train: Dataset) -> TrainedModel:
    """Return ``model``, which has no users, with those of ``train``: their history, vector and bias.

    The vector is the posterior mean without drift, because a stored vector is that of no particular moment.
    """
    interactions = WeightedInteractions.from_dataset(train)
    vectors, biases = _fold_users(model, train)
    return replace(
        model,
        user_ids=train.user_ids,
        user_vectors=vectors,
        user_biases=biases,
        histories=Histories.from_entries(
            train.n_users, interactions.users, interactions.items, interactions.ratings, interactions.weights
        ),
    )


class StagedUsers:
    """Users of an artifact (:class:`~marquee.registry.artifact.UserSource`), written by the workers."""

    def __init__(self, shards: RDD[Shard], catalog: Catalog, staging: Staging, model: TrainedModel) -> None:
        self.n_users = catalog.n_users
        self._catalog = catalog
        self._staging = staging
        write = partial(_write_blocks, catalog, staging, model)
        self._records = [record for found in shards.map(write).collect() for record in found]

    def write(self, directory: Path) -> int:
        """Join the blocks of all shards in order, a few megabytes at a time."""
        for shard in range(self._catalog.shards):
            index = self._staging.read(_name(shard, INDEX))
            append_users(directory, index, self._read_chunks(_name(shard, BLOCKS)))
        return self._catalog.buckets

    def sample(self, count: int) -> list[UserRecord]:
        """Return the first user of some shards."""
        return self._records[:: max(1, -(-len(self._records) // count))]

    def _read_chunks(self, file: str) -> Iterator[bytes]:
        store, start = connect(self._staging.url), 0
        while part := store.read_range(self._staging.name(file), start, _CHUNK):
            yield part
            start += len(part)


def _write_blocks(catalog: Catalog, staging: Staging, item_side: TrainedModel, shard: Shard) -> list[UserRecord]:
    """Write the blocks of a shard's users to the object store; return its first user, if there is one."""
    model = attach_users(item_side, shard.to_dataset(catalog))
    with tempfile.TemporaryDirectory(prefix="marquee-") as temporary:
        directory = Path(temporary)
        write_users(model, directory, (*catalog.span(shard.number), catalog.buckets))
        for file in (BLOCKS, INDEX):
            staging.write(_name(shard.number, file), directory / file)
    return [make_record(model, 0)] if model.user_ids else []


def _name(shard: int, file: str) -> str:
    return f"users/{shard:05}/{file}"


def _fold_users(model: TrainedModel, train: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return the vectors [n_users, k] and the biases [n_users] of all users, float32."""
    implicit = model.prior_implicit if model.prior_implicit.size else None
    prior = Prior(model.prior_mean, model.prior_precision, model.noise_precision, implicit=implicit)
    fold_in = FoldIn(model.item_vectors, model.item_biases, model.mean, prior)
    ratings = train.ratings
    order = np.argsort(ratings.users, kind="stable")
    edges = np.searchsorted(ratings.users[order], np.arange(train.n_users + 1))
    vectors = np.empty((train.n_users, model.item_vectors.shape[1]), np.float32)
    biases = np.empty(train.n_users, np.float32)
    for user in range(train.n_users):
        rows = order[edges[user] : edges[user + 1]]
        vectors[user], biases[user] = fold_in.posterior_mean(ratings.items[rows], ratings.values[rows])
    return vectors, biases
