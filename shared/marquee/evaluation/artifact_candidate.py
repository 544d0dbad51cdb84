"""A stored artifact as an evaluation candidate, computed from its files alone."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator

import numpy as np

from marquee.data.dataset import Dataset
from marquee.evaluation.baselines import Candidate, Floats, Ints
from marquee.registry.item_factors import ItemFactors, ranking_scores
from marquee.registry.item_store import read_items
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.user_store import UserRecord, UserStore

SERVING = "serving"
_CHUNK = 8 << 20


def load_candidate(store: ObjectStore, version: str, dataset: Dataset) -> Candidate:
    """Return the artifact ``version`` in the rows of ``dataset``.

    A user unknown to the artifact has the prior's mean and is ranked by popularity. An unknown item has no bias and no
    vector, and ranks last. Raises as :func:`marquee.registry.item_store.read_items`.
    """
    artifact = _ArtifactCandidate(store, version, dataset)
    return Candidate(SERVING, artifact.rate, artifact.score)


class _CachedFiles:
    """The files of an artifact, each fetched once instead of once per user, into a temporary file."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._files: dict[str, memoryview] = {}

    def map(self, name: str) -> memoryview:
        if name not in self._files:
            with tempfile.TemporaryFile() as file:
                start = 0
                while part := self._store.read_range(name, start, _CHUNK):
                    file.write(part)
                    start += len(part)
                file.flush()
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if start else b""
            self._files[name] = memoryview(mapped)
        return self._files[name]


class _ArtifactCandidate:
    def __init__(self, store: ObjectStore, version: str, dataset: Dataset) -> None:
        self._items: ItemFactors = read_items(store, version)
        self._users = UserStore(_CachedFiles(store), self._items.manifest)
        self._dataset = dataset
        # The artifact's row of each item of the dataset; unknown items have the row after the last.
        unknown = len(self._items.movie_ids)
        self._rows = np.array([self._items.items.get(m, unknown) for m in dataset.movie_ids])
        self._biases = np.append(self._items.item_biases, np.float32(0))
        self._vectors = np.vstack([self._items.item_vectors, np.zeros((1, self._items.manifest.rating_rank), "f4")])

    def rate(self, users: Ints, items: Ints) -> Floats:
        rows, manifest = self._rows[items], self._items.manifest
        distinct, index = np.unique(users, return_inverse=True)
        thetas = np.stack([self._theta(record) for record in self._records(distinct)])[index]
        raw = manifest.mean + self._biases[rows] + thetas[:, -1]
        raw = raw + np.einsum("nk,nk->n", self._vectors[rows], thetas[:, :-1])
        ratings: Floats = np.clip(raw.astype(np.float64), manifest.rating_min, manifest.rating_max)
        return ratings

    def score(self, users: Ints) -> Floats:
        scores = np.array([self._scores(record) for record in self._records(users)])
        lowest = scores.min(axis=1, keepdims=True) - 1
        return np.hstack([scores, lowest])[:, self._rows].astype(np.float64)

    def _scores(self, record: UserRecord | None) -> np.ndarray:
        if record is None or not len(record.items):
            return self._items.popularity
        return ranking_scores(self._items, record.items, record.weights)

    def _theta(self, record: UserRecord | None) -> np.ndarray:
        if record is None:
            return self._items.prior_mean
        return np.append(record.vector, np.float32(record.bias))

    def _records(self, users: Ints) -> Iterator[UserRecord | None]:
        return (self._users.read(self._dataset.user_ids[user]) for user in users.tolist())
