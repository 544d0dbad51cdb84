"""Models whose recommendations are known by construction, and stores that hold them."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from marquee.registry.arm_assignment import Arm
from marquee.registry.artifact import write_artifact
from marquee.registry.movie_metadata import MovieMetadata
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.policy import Policy
from marquee.registry.release import new_release, publish_release
from marquee.registry.rollout import promote
from marquee.registry.trained_model import Histories, TrainedModel
from marquee.serving.release_cache import ReleaseCache

TRAINED_THROUGH = datetime(2026, 3, 1, tzinfo=UTC)
GROUPS = 2
MEAN = 3.0


def make_movie_id(item: int) -> str:
    """Return the id of an item row; even rows are of group 0, odd ones of group 1."""
    return f"film+{item}+1990"


def get_group(movie_id: str) -> int:
    return int(movie_id.split("+")[1]) % GROUPS


def two_group_model(
    n_items: int = 60, n_users: int = 6, *, rating_max: float = 5.0, mean: float = MEAN
) -> TrainedModel:
    """Return a model of two groups: user ``1000 + u`` likes group ``u % 2`` and has seen its first two movies.

    Movies of the user's group are rated ``mean + 1``, those of the other ``mean - 1``. The ranking model sums the
    interactions with each group. Within a group a lower row is better and more popular.
    """
    one_hot = np.eye(GROUPS, dtype=np.float32)
    groups = np.arange(n_items) % GROUPS
    quality = (1 + 0.001 * np.arange(n_items, 0, -1) / n_items).astype(np.float32)
    users, user_groups = np.arange(n_users), np.arange(n_users) % GROUPS
    seen = np.stack([user_groups, user_groups + GROUPS], axis=1)
    return TrainedModel(
        user_ids=[str(1000 + u) for u in users],
        movie_ids=[make_movie_id(i) for i in range(n_items)],
        mean=mean,
        user_biases=np.zeros(n_users, np.float32),
        user_vectors=2 * one_hot[user_groups] - 1,
        item_biases=np.zeros(n_items, np.float32),
        item_vectors=one_hot[groups],
        rank_items=one_hot[groups] * quality[:, None],
        rank_history=one_hot[groups],
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


def store_model(store: ObjectStore, model: TrainedModel | None = None, through: datetime = TRAINED_THROUGH) -> str:
    """Store a model and return its version."""
    return write_artifact(store, model or two_group_model(), trained_through=through)


def release_model(store: ObjectStore, model: TrainedModel | None = None, through: datetime = TRAINED_THROUGH) -> str:
    """Store a model, promote it and return its version."""
    version = store_model(store, model, through)
    promote(store, version, author="test")
    return version


def release_still_model(store: ObjectStore, model: TrainedModel | None = None) -> str:
    """Store a model, release it as the first with a policy without exploration, and return its version."""
    version = store_model(store, model)
    arm = Arm("control", version, 1.0, Policy(explore_epsilon=0.0, explore_slots=0))
    publish_release(store, lambda _: new_release((arm,), author="test", reason=""))
    return version


def flip_last_bit(store: FileStore, version: str, file: str) -> None:
    """Flip the last bit of a file. The file is replaced, because a process may have mapped the old one."""
    path = next(store.root.rglob(f"{version}/{file}"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.unlink()
    path.write_bytes(data)


def current_version(cache: ReleaseCache) -> str | None:
    """Return the version of the first arm of the loaded release."""
    loaded = cache.get()
    return loaded.release.arms[0].version if loaded else None


GENRES = ("drama", "comedy", "horror", "war")


def catalog_model(n_items: int = 120, n_users: int = 8, seed: int = 1) -> TrainedModel:
    """Return a model of random vectors, whose movies have random attributes, some of them unknown.

    Its ranking model has a trend and a column of popularity, as a fitted one. User ``1000 + u`` has seen ten movies.
    """
    rng = np.random.default_rng(seed)
    rank, k = 6, 4
    trend = np.exp(rng.normal(0, 0.3, n_items)).astype(np.float32)
    taste = rng.normal(0, 0.3, (n_items, rank - 1)) * trend[:, None]
    popularity = rng.gamma(1.0, 0.1, n_items)
    users = np.repeat(np.arange(n_users), 10)
    seen = np.concatenate([rng.choice(n_items, 10, replace=False) for _ in range(n_users)])
    ratings = rng.integers(1, 6, len(seen)).astype(np.float32)
    ratings[::4] = np.nan
    names = [rng.choice(GENRES, rng.integers(0, 3), replace=False) for _ in range(n_items)]
    metadata = MovieMetadata(
        titles=tuple(f"Movie {i}" for i in range(n_items)),
        years=tuple(int(rng.choice([0, *range(1970, 2000)])) for _ in range(n_items)),
        genres=tuple("|".join(own) for own in names),
        languages=tuple(rng.choice(["", "en", "fr", "de"], n_items).tolist()),
        countries=tuple(rng.choice(["", "us", "fr|de", "us|gb"], n_items).tolist()),
        ages=tuple(rng.choice([-1, 0, 6, 12, 17, 18], n_items).tolist()),
        costs=tuple(rng.choice([-1.0, 0.1, 0.5, 0.9], n_items).tolist()),
    )

    def to_float32(array: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(array, np.float32)

    return TrainedModel(
        user_ids=[str(1000 + u) for u in range(n_users)],
        movie_ids=[make_movie_id(i) for i in range(n_items)],
        mean=MEAN,
        user_biases=np.zeros(n_users, np.float32),
        user_vectors=to_float32(rng.normal(0, 0.3, (n_users, k))),
        item_biases=to_float32(rng.normal(0, 0.1, n_items)),
        item_vectors=to_float32(rng.normal(0, 0.3, (n_items, k))),
        rank_items=to_float32(np.hstack([taste, popularity[:, None]])),
        rank_history=to_float32(np.hstack([rng.normal(0, 0.3, (n_items, rank - 1)), np.ones((n_items, 1))])),
        popularity=to_float32(popularity),
        histories=Histories.from_entries(n_users, users, seen, ratings, rng.uniform(0.1, 1.2, len(seen))),
        rating_min=1.0,
        rating_max=5.0,
        prior_mean=np.zeros(k + 1, np.float32),
        prior_precision=np.eye(k + 1, dtype=np.float32),
        noise_precision=2.0,
        cohort_names=["gender:f", "genre:comedy"],
        cohort_scores=to_float32(rng.normal(0, 0.3, (2, n_items))),
        metadata=metadata,
        trend=trend,
        popularity_columns=1,
    )
