"""Fitted form of the compared algorithms: each predicts ratings, or ranks, or both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from marquee.data.dataset import Dataset
from marquee.data.interactions import WeightedInteractions, like_threshold
from marquee.evaluation import baselines
from marquee.evaluation.baselines import Candidate
from marquee.models import biases, surprise_svd
from marquee.models.item_regression import solve_regression
from marquee.models.matrix_factorization import MatrixFactorization, to_rating_factors
from marquee.models.popularity import Popularity, fit_popularity
from marquee.models.ranker_port import load_ranker
from marquee.models.trainer_port import RatingFactors, Trainer, no_progress
from marquee.training.params import Params

Float32 = NDArray[np.float32]
Ints = NDArray[np.int32]

# The usual ridge of EASE on MovieLens.
_EASE_RIDGE = 300.0


@dataclass(frozen=True, slots=True)
class FittedAlgorithm:
    """A fitted algorithm.

    - ``answer(user)``: scores of all items as a serving instance computes them, [n_items]
    - ``memory_bytes``: float32 arrays that an instance holds; ``storage_bytes``: these and the per-user rows
    """

    candidate: Candidate
    answer: Callable[[int], Float32]
    memory_bytes: int
    storage_bytes: int


Fit = Callable[[Dataset, Params], FittedAlgorithm]
# Returns the parameters of a trainer.
Section = Callable[[Params], Mapping[str, Any]]


def with_trainer(trainer: Trainer, section: Section) -> Fit:
    """Return an algorithm that fits the rating model of ``trainer``; it ranks by predicted rating."""

    def fit(dataset: Dataset, params: Params) -> FittedAlgorithm:
        return from_rating_factors(trainer(dataset, section(params), params.seed, no_progress), dataset)

    return fit


def from_rating_factors(factors: RatingFactors, dataset: Dataset) -> FittedAlgorithm:
    """Return a rating model as it is served: float32, clipped to the scale."""
    users, items = _to_float32(factors.user_vectors), _to_float32(factors.item_vectors)
    user_biases, item_biases = _to_float32(factors.user_biases), _to_float32(factors.item_biases)

    def rate(user: Ints, item: Ints) -> NDArray[np.float64]:
        dots = np.einsum("nk,nk->n", users[user], items[item])
        raw = (factors.mean + user_biases[user] + item_biases[item] + dots).astype(np.float64)
        return np.asarray(np.clip(raw, dataset.rating_min, dataset.rating_max))

    def score(user: Ints) -> NDArray[np.float64]:
        scores = users[user] @ items.T + item_biases
        return np.asarray(scores, np.float64)

    def answer(user: int) -> Float32:
        scores: Float32 = items @ users[user]
        scores += item_biases
        return scores

    memory = items.nbytes + item_biases.nbytes
    return FittedAlgorithm(Candidate("", rate, score), answer, memory, memory + users.nbytes + user_biases.nbytes)


def fit_bias_only(dataset: Dataset, _: Params) -> FittedAlgorithm:
    """Fit mean + user bias + item bias."""
    item_biases = _to_float32(biases.fit_biases(dataset).item_biases)
    rate = baselines.bias_baseline(dataset).rate
    return _same_list(item_biases, item_biases.nbytes + dataset.n_users * 4, rate)


def fit_recent_popularity(dataset: Dataset, params: Params) -> FittedAlgorithm:
    """Fit recent popularity: the same list for all users."""
    recent = _to_float32(_popularity(dataset, params).recent)
    return _same_list(recent, recent.nbytes)


def fit_svdpp(dataset: Dataset, params: Params) -> FittedAlgorithm:
    """Fit scikit-surprise's SVD++ with its defaults."""
    return from_rating_factors(to_rating_factors(factorize_svdpp(dataset, params.seed), dataset), dataset)


def factorize_svdpp(dataset: Dataset, seed: int) -> MatrixFactorization:
    """Return the factors of SVD++ with the implicit term added to each user's vector, which makes the model linear."""
    import surprise

    algorithm = surprise.SVDpp(random_state=seed).fit(surprise_svd.build_trainset(dataset))
    vectors = algorithm.pu.copy()
    for user, rated in algorithm.trainset.ur.items():
        vectors[user] += algorithm.yj[[item for item, _ in rated]].sum(0) / np.sqrt(len(rated))
    return replace(surprise_svd.to_factorization(algorithm), user_vectors=vectors)


def fit_full_rank_ease(dataset: Dataset, params: Params) -> FittedAlgorithm:
    """Fit EASE on the likes at full rank."""
    interactions = WeightedInteractions.from_dataset(dataset)
    liked = (interactions.ratings >= like_threshold(dataset)).astype(float)
    likes = _history_matrix(interactions, liked, dataset)
    weights = _to_float32(solve_regression(likes, likes, _EASE_RIDGE))
    return _history_ranker(likes, weights, None, _popularity(dataset, params))


def with_ranker(name: str, **changes: float) -> Fit:
    """Return the ranker ``name`` with its parameters in ``params.yaml`` and some ``changes``."""

    def fit(dataset: Dataset, params: Params) -> FittedAlgorithm:
        section = {**params.rankers[name], **changes}
        interactions, popular = WeightedInteractions.from_dataset(dataset), _popularity(dataset, params)
        shape = (dataset.n_users, dataset.n_items)
        factors = load_ranker(name)(interactions, shape, popular, section, params.seed)
        history = _history_matrix(interactions, interactions.weights, dataset)
        return _history_ranker(history, _to_float32(factors.rank_history), _to_float32(factors.rank_items), popular)

    return fit


def _same_list(
    scores: Float32, storage_bytes: int, rate: Callable[[Ints, Ints], NDArray[np.float64]] | None = None
) -> FittedAlgorithm:
    """Return an algorithm with the same scores for all users."""

    def score(users: Ints) -> NDArray[np.float64]:
        return np.tile(scores.astype(np.float64), (len(users), 1))

    return FittedAlgorithm(Candidate("", rate, score), lambda _: scores, scores.nbytes, storage_bytes)


def _history_ranker(
    history: csr_array, history_factors: Float32, item_factors: Float32 | None, popular: Popularity
) -> FittedAlgorithm:
    """Return a ranker with the scores ``history @ history_factors @ item_factors.T``.

    Without ``item_factors`` the first matrix is [n_items, n_items]. Users without history get the popular list.
    """
    recent = _to_float32(popular.recent)
    start, items, values = history.indptr, history.indices, history.data.astype(np.float32)

    def score(users: Ints) -> NDArray[np.float64]:
        scores = history[users].astype(np.float32) @ history_factors
        scores = np.asarray(scores if item_factors is None else scores @ item_factors.T, np.float64)
        scores[start[users] == start[users + 1]] = recent
        return scores

    def answer(user: int) -> Float32:
        rows = slice(start[user], start[user + 1])
        query = values[rows] @ history_factors.take(items[rows], axis=0)
        scores: Float32 = query if item_factors is None else item_factors @ query
        return scores

    factor_bytes = history_factors.nbytes + (0 if item_factors is None else item_factors.nbytes)
    memory = factor_bytes + recent.nbytes
    return FittedAlgorithm(Candidate("", score=score), answer, memory, memory + values.nbytes + items.nbytes)


def _history_matrix(interactions: WeightedInteractions, values: NDArray[np.float64], dataset: Dataset) -> csr_array:
    shape = (dataset.n_users, dataset.n_items)
    matrix = csr_array((values, (interactions.users, interactions.items)), shape=shape)
    matrix.eliminate_zeros()
    return matrix


def _popularity(dataset: Dataset, params: Params) -> Popularity:
    return fit_popularity(WeightedInteractions.from_dataset(dataset), dataset.n_items, params.popularity)


def _to_float32(array: NDArray[np.floating]) -> Float32:
    return np.ascontiguousarray(array, np.float32)
