"""A stored artifact as a candidate: what it would say to the users of a dataset, from its own files alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from marquee.data.dataset import Dataset
from marquee.evaluation.baselines import Candidate, Floats, Ints
from marquee.registry.item_factors import ItemFactors, ranking_scores
from marquee.registry.item_store import read_items
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.user_store import UserRecord, UserStore

SERVING = "serving"


class _InMemory:
    """The files of an artifact, each fetched once: a store far away should not be asked for every user."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._read: dict[str, memoryview] = {}

    def map(self, name: str) -> memoryview:
        if name not in self._read:
            self._read[name] = memoryview(self._store.get(name).data)
        return self._read[name]


def load_candidate(store: ObjectStore, version: str, dataset: Dataset) -> Candidate:
    """The artifact ``version``, by the row numbers of ``dataset``.

    A user whom it does not know has the prior's mean and is ranked by popularity; an item that it does not
    know has no bias and no vector, and comes last. Raises as ``artifact.read_items``.
    """
    stored = _Stored(store, version, dataset)
    return Candidate(SERVING, stored.rate, stored.score)


class _Stored:
    def __init__(self, store: ObjectStore, version: str, dataset: Dataset) -> None:
        self._side: ItemFactors = read_items(store, version)
        self._users = UserStore(_InMemory(store), self._side.manifest)
        self._dataset = dataset
        # By the dataset's rows: the row of the artifact; for an unknown item the one after its last.
        nothing = len(self._side.movie_ids)
        self._rows = np.array([self._side.items.get(m, nothing) for m in dataset.movie_ids])
        self._biases = np.append(self._side.item_biases, np.float32(0))
        self._vectors = np.vstack(
            [self._side.item_vectors, np.zeros((1, self._side.manifest.rating_rank), "f4")]
        )

    def rate(self, users: Ints, items: Ints) -> Floats:
        rows, manifest = self._rows[items], self._side.manifest
        distinct, which = np.unique(users, return_inverse=True)
        thetas = np.stack([self._theta(record) for record in self._records(distinct)])[which]
        raw = manifest.mean + self._biases[rows] + thetas[:, -1]
        raw = raw + np.einsum("nk,nk->n", self._vectors[rows], thetas[:, :-1])
        ratings: Floats = np.clip(raw.astype(np.float64), manifest.rating_min, manifest.rating_max)
        return ratings

    def score(self, users: Ints) -> Floats:
        scores = np.array([self._ranked(record) for record in self._records(users)])
        lowest = scores.min(axis=1, keepdims=True) - 1
        return np.hstack([scores, lowest])[:, self._rows].astype(np.float64)

    def _ranked(self, record: UserRecord | None) -> np.ndarray:
        if record is None or not len(record.items):
            return self._side.popularity
        return ranking_scores(self._side, record.items, record.weights)

    def _theta(self, record: UserRecord | None) -> np.ndarray:
        return self._side.prior_mean if record is None else np.append(record.vector, np.float32(record.bias))

    def _records(self, users: Ints) -> Iterator[UserRecord | None]:
        return (self._users.read(self._dataset.user_ids[user]) for user in users.tolist())
