"""Models whose answers are known by construction, and stores that hold them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from marquee.registry.artifact import write_artifact
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.rollout import promote
from marquee.registry.trained_model import Histories, TrainedModel
from marquee.serving.release_cache import ReleaseCache

TRAINED_THROUGH = datetime(2026, 3, 1, tzinfo=UTC)
GROUPS = 2
MEAN = 3.0


def movie_id_of(item: int) -> str:
    """Movies of even rows are of group 0, of odd ones of group 1."""
    return f"film+{item}+1990"


def group_of(movie_id: str) -> int:
    return int(movie_id.split("+")[1]) % GROUPS


def two_tastes(
    n_items: int = 60, n_users: int = 6, *, rating_max: float = 5.0, mean: float = MEAN
) -> TrainedModel:
    """Two tastes: user ``1000 + u`` likes group ``u % 2`` and has seen the first two movies of it.

    Movies of the own group are rated ``mean + 1``, of the other ``mean - 1``; the ranking head sums likes of
    a group. Within a group the lower row is the better and the more popular one.
    """
    own = np.eye(GROUPS, dtype=np.float32)
    groups = np.arange(n_items) % GROUPS
    better = (1 + 0.001 * np.arange(n_items, 0, -1) / n_items).astype(np.float32)
    users, tastes = np.arange(n_users), np.arange(n_users) % GROUPS
    seen = np.stack([tastes, tastes + GROUPS], axis=1)
    return TrainedModel(
        user_ids=[str(1000 + u) for u in users],
        movie_ids=[movie_id_of(i) for i in range(n_items)],
        mean=mean,
        user_biases=np.zeros(n_users, np.float32),
        user_vectors=2 * own[tastes] - 1,
        item_biases=np.zeros(n_items, np.float32),
        item_vectors=own[groups],
        rank_items=own[groups] * better[:, None],
        rank_history=own[groups],
        popularity=np.arange(n_items, 0, -1).astype(np.float32),
        histories=Histories.from_entries(
            n_users, np.repeat(users, 2), seen.ravel(), np.full(2 * n_users, mean + 1, np.float32)
        ),
        rating_min=1.0,
        rating_max=rating_max,
        prior_mean=np.zeros(GROUPS + 1, np.float32),
        prior_precision=np.eye(GROUPS + 1, dtype=np.float32),
        noise_precision=4.0,
    )


def store_at(directory: Path) -> FileStore:
    return FileStore(directory)


def written(
    store: ObjectStore, model: TrainedModel | None = None, through: datetime = TRAINED_THROUGH
) -> str:
    """Store a model; returns its version."""
    return write_artifact(store, model or two_tastes(), trained_through=through)


def released(
    store: ObjectStore, model: TrainedModel | None = None, through: datetime = TRAINED_THROUGH
) -> str:
    """Store a model and let it serve everybody; returns its version."""
    version = written(store, model, through)
    promote(store, version, author="test")
    return version


def corrupt(store: FileStore, version: str, file: str) -> None:
    """Flip one bit. In a new file: the old one may be mapped into the memory of whoever serves it."""
    path = next(store.root.rglob(f"{version}/{file}"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.unlink()
    path.write_bytes(data)


def serves(cache: ReleaseCache) -> str | None:
    """The version that everybody gets."""
    serving = cache.get()
    return serving.release.arms[0].version if serving else None
