"""Evaluation of metadata for movies without ratings: ranking and rating error on MovieLens 100K.

All ratings of a tenth of the movies are removed, both heads are trained on the others, and the held-out movies are
ranked among themselves for each user who liked one of them. A rating of 4 or 5 is relevant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from benchmarks.base_dataset import MOVIELENS
from benchmarks.movielens import PARAMS, load
from marquee.config.base_data import MOVIES_FILE, read_side_table
from marquee.data.dataset import Dataset, Interactions
from marquee.data.interactions import WeightedInteractions, like_threshold
from marquee.data.side_information import split_genres
from marquee.evaluation.metrics import ndcg, recall, top_unseen
from marquee.registry.trained_model import TrainedModel
from marquee.training.train_model import train_model

Floats = NDArray[np.float64]
FRACTION, SEED = 0.1, 20260101
LENGTHS = {"ndcg": 10, "recall": 20}


@dataclass(frozen=True, slots=True)
class ColdMovies:
    """Values by user, [n_users], for each kind of score and metric, and errors of held-out ratings by rating model."""

    ranking: Mapping[str, Mapping[str, Floats]]
    squared_errors: Mapping[str, Floats]
    movies: int
    data: str


def measure() -> ColdMovies:
    """Hold out a tenth of the movies, train, and measure."""
    dataset = load().dataset
    rows = read_side_table(MOVIELENS / MOVIES_FILE, "movie_id")
    rng = np.random.default_rng(SEED)
    is_new = np.zeros(dataset.n_items, bool)
    is_new[rng.permutation(dataset.n_items)[: round(FRACTION * dataset.n_items)]] = True
    held_out = is_new[dataset.ratings.items]
    train = dataset.without_ratings(held_out)
    model, plain = (train_model(data, PARAMS) for data in (train, replace(train, content_features=None)))
    interactions = WeightedInteractions.from_dataset(train)
    shape = (dataset.n_users, dataset.n_items)
    history = csr_array((interactions.weights, (interactions.users, interactions.items)), shape=shape)
    test = dataset.ratings.where(held_out)
    liked = test.where(test.values >= like_threshold(dataset))
    relevant = np.zeros(shape, bool)
    relevant[liked.users, liked.items] = True
    genres = _genre_matrix([rows.get(movie_id, {}).get("genres", "") for movie_id in dataset.movie_ids])
    scores = dict(_scores(model, plain, history, genres, dataset, held_out, rng))
    return ColdMovies(
        {name: _measure_users(values[:, is_new], relevant[:, is_new]) for name, values in scores.items()},
        {"content": _squared_errors(model, test), "without": _squared_errors(plain, test)},
        int(is_new.sum()),
        dataset.sha256(),
    )


def _scores(
    model: TrainedModel,
    plain: TrainedModel,
    history: csr_array,
    genres: Floats,
    dataset: Dataset,
    held_out: NDArray[np.bool_],
    rng: np.random.Generator,
) -> Iterator[tuple[str, Floats]]:
    """Yield the scores [n_users, n_items] by name. ``popularity`` is that of the held-out ratings."""
    yield "content", np.asarray(history @ model.rank_history @ model.rank_items.T, np.float64)
    yield "without content", np.asarray(history @ plain.rank_history @ plain.rank_items.T, np.float64)
    profile = np.asarray(history @ genres)
    yield "genre mean", profile / np.maximum(history.sum(axis=1), 1e-9)[:, None] @ genres.T
    yield "random", rng.random(history.shape)
    counts = np.bincount(dataset.ratings.items[held_out], minlength=dataset.n_items).astype(float)
    yield "popularity", np.tile(counts, (history.shape[0], 1))


def _genre_matrix(texts: list[str]) -> Floats:
    """Return the genre vector of each movie, [n_items, genres], with length 1."""
    lists = [split_genres(text) for text in texts]
    names = {name: column for column, name in enumerate(sorted({name for row in lists for name in row}))}
    matrix = np.zeros((len(lists), len(names)))
    for row, own in enumerate(lists):
        for name in own:
            matrix[row, names[name]] = len(own) ** -0.5
    return matrix


def _measure_users(scores: Floats, relevant: NDArray[np.bool_]) -> dict[str, Floats]:
    users = np.flatnonzero(relevant.any(axis=1))
    own = relevant[users]
    top = top_unseen(scores[users], np.zeros_like(own), max(LENGTHS.values()))
    hits, n_relevant = np.take_along_axis(own, top, 1), own.sum(1)
    return {
        "ndcg": ndcg(hits[:, : LENGTHS["ndcg"]], n_relevant),
        "recall": recall(hits[:, : LENGTHS["recall"]], n_relevant),
    }


def _squared_errors(model: TrainedModel, test: Interactions) -> Floats:
    users, items = test.users, test.items
    dots = np.einsum("nk,nk->n", model.user_vectors[users], model.item_vectors[items])
    predicted = np.clip(model.mean + model.user_biases[users] + model.item_biases[items] + dots, 1, 5)
    return np.asarray((test.values - predicted) ** 2, np.float64)
