"""Models from a seed, and functions that damage a stored one."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np

from marquee.registry.artifact import write_artifact
from marquee.registry.manifest import FileEntry, Manifest, encode_manifest, object_name, read_manifest
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.trained_model import Histories, TrainedModel
from marquee.scoring.arrays import item_shapes

THROUGH = datetime(1998, 4, 1, 12, 30, 5, tzinfo=UTC)
AUTHOR: dict[str, Any] = {"author": "test"}
"""Author of the releases."""
ARRAYS = tuple(item_shapes(1, 1, 1))
ITEM_FILES = ("movie_ids.json", *(f"{name}.npy" for name in ARRAYS))
USER_FILES = ("users.bin", "users.index")


def make_model(
    user_ids: Sequence[str] = ("ann", "bob", "cid", "dora", "eve", "fay", "gus"),
    *,
    n_items: int = 30,
    k: int = 5,
    r: int = 3,
    seed: int = 0,
) -> TrainedModel:
    """Return a model of random factors; user ``u`` has ``u % 4`` movies in the history, the first of them
    unrated.
    """
    random = np.random.default_rng(seed)
    n_users = len(user_ids)

    def normal(*shape: int) -> np.ndarray:
        return random.normal(size=shape).astype(np.float32)

    users = np.repeat(np.arange(n_users), np.arange(n_users) % 4)
    ratings = random.integers(1, 6, len(users)).astype(np.float32)
    ratings[np.flatnonzero(np.diff(users, prepend=-1))] = np.nan
    items = random.integers(0, n_items, len(users))
    return TrainedModel(
        user_ids=list(user_ids),
        movie_ids=[f"film+{i}+1990" for i in range(n_items)],
        mean=3.5,
        user_biases=normal(n_users),
        user_vectors=normal(n_users, k),
        item_biases=normal(n_items),
        item_vectors=normal(n_items, k),
        rank_items=normal(n_items, r),
        rank_history=normal(n_items, r),
        popularity=np.abs(normal(n_items)),
        histories=Histories.from_entries(n_users, users, items, ratings, random.uniform(0.1, 1, len(users))),
        rating_min=1,
        rating_max=5,
        prior_mean=normal(k + 1),
        prior_precision=np.eye(k + 1, dtype=np.float32),
        noise_precision=1.2,
    )


def store_model(store: ObjectStore, model: TrainedModel | None = None) -> str:
    """Store a model and return its version."""
    return write_artifact(store, model or make_model(), trained_through=THROUGH)


def overwrite(store: ObjectStore, version: str, file: str, data: bytes) -> None:
    """Replace the content of a file, as no writer would."""
    store.delete(object_name(version, file))
    store.put_new(object_name(version, file), data)


def change_manifest(store: ObjectStore, version: str, change: Callable[[Manifest], Manifest]) -> None:
    overwrite(store, version, "manifest.json", encode_manifest(change(read_manifest(store, version))))


def forge(store: ObjectStore, version: str, file: str, data: bytes) -> None:
    """Replace the content of a file and its hash in the manifest, as a writer with a bug would."""
    overwrite(store, version, file, data)
    entry = FileEntry(len(data), hashlib.sha256(data).hexdigest())
    change_manifest(store, version, lambda m: msgspec.structs.replace(m, files={**m.files, file: entry}))


def npy_bytes(array: np.ndarray, **options: Any) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, array, **options)
    return out.getvalue()
