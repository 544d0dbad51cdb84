"""Users of a model on the workers: each shard's users are folded in, and written as blocks of the user store."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from marquee.data.dataset import Dataset
from marquee.data.interactions import WeightedInteractions
from marquee.registry.artifact import make_record
from marquee.registry.object_store.connect import connect
from marquee.registry.trained_model import Histories, TrainedModel
from marquee.registry.user_store import BLOCKS, INDEX, UserRecord, append_users, write_users
from marquee.scoring.fold_in import FoldIn, Prior
from marquee.training.cluster.user_shards import Catalog, Shard, Staging

if TYPE_CHECKING:
    from pyspark import RDD

_CHUNK = 8 << 20


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
