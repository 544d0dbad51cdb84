"""Shards in a list that answers as Spark's RDD, for tests without Java."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from marquee.data.dataset import Dataset
from marquee.registry.user_store import count_buckets, user_bucket
from marquee.training.cluster.user_shards import Catalog, Shard, Staging, read_shard, write_shard


class ShardList:
    """The operations of an RDD that the cluster's code uses."""

    def __init__(self, values: Iterable[Any]) -> None:
        self._values = list(values)

    def map(self, function: Callable[[Any], Any]) -> ShardList:
        """Apply ``function`` to each value."""
        return ShardList(function(value) for value in self._values)

    def flatMap(self, function: Callable[[Any], Iterable[Any]]) -> ShardList:  # noqa: N802 (Spark's name)
        """Return all values that ``function`` yields."""
        return ShardList(one for value in self._values for one in function(value))

    def reduceByKey(self, function: Callable[[Any, Any], Any], parts: int) -> ShardList:  # noqa: N802 (Spark's name)
        """Reduce the values of each key."""
        groups: dict[Any, list[Any]] = {}
        for key, value in self._values:
            groups.setdefault(key, []).append(value)
        return ShardList((key, reduce(function, values)) for key, values in groups.items())

    def collect(self) -> list[Any]:
        """Return all values."""
        return self._values

    def toLocalIterator(self) -> Iterator[Any]:  # noqa: N802 (Spark's name)
        """Yield all values."""
        return iter(self._values)


def make_shards(dataset: Dataset, directory: Path, shards: int = 3) -> tuple[ShardList, Catalog, Staging]:
    """Write ``dataset`` as shards below ``directory``, read them, and return them with their catalog."""
    staging = Staging(directory.as_uri(), "run")
    buckets = count_buckets(dataset.n_users)
    catalog = Catalog(
        tuple(dataset.movie_ids), dataset.rating_min, dataset.rating_max, dataset.n_users, buckets, shards
    )
    frames = [
        pd.DataFrame(
            {
                "kind": kind,
                "user_id": np.array(dataset.user_ids, object)[part.users],
                "item": part.items,
                "value": part.values,
                "time": part.times,
            }
        )
        for kind, part in enumerate((dataset.ratings, dataset.watch_sessions))
    ]
    rows = pd.concat([frame for frame in frames if len(frame)]).sample(frac=1, random_state=0)
    shard = np.array([user_bucket(user_id, buckets) * shards // buckets for user_id in rows["user_id"]])
    users = pd.DataFrame({"user_id": ["without-events"], "attributes": ['{"gender":"F"}']})
    for number in range(shards):
        write_shard(staging, number, rows[shard == number], users)
    read: list[Shard] = [read_shard(staging, number) for number in range(shards)]
    return ShardList(read), catalog, staging
