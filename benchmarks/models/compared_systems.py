"""What is compared: each system learns from a split's training part and can then rate, or rank, or both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from marquee.data.interactions import WeightedInteractions, like_threshold
from marquee.data.dataset import Dataset
from marquee.evaluation import baselines
from marquee.evaluation.baselines import Candidate
from marquee.models import biases, ease, popularity, surprise_svd
from marquee.models.matrix_factorization import to_rating_factors
from marquee.models.trainer_port import RatingFactors, Trainer, no_progress
from marquee.training.params import Params

Float32 = NDArray[np.float32]
Ints = NDArray[np.int32]

# EASE's one parameter, as its authors and others have it on MovieLens.
_EASE_RIDGE = 300.0


@dataclass(frozen=True, slots=True)
class ComparedAlgorithm:
    """A trained system. ``answer(user)``: scores of all items as an instance would compute them, [n_items].

    ``in_memory``: bytes of the float32 arrays that an instance holds; ``on_disk``: with those of which it reads
    one user's row.
    """

    candidate: Candidate
    answer: Callable[[int], Float32]
    in_memory: int
    on_disk: int


Learn = Callable[[Dataset, Params], ComparedAlgorithm]
Section = Callable[[Params], Mapping[str, Any]]  # The parameters of a trainer, of all there are.


def rater(train: Trainer, section: Section) -> Learn:
    """A system of a trainer's rating head: it also ranks, by predicted rating."""

    def learn(dataset: Dataset, params: Params) -> ComparedAlgorithm:
        return of_head(train(dataset, section(params), params.seed, no_progress), dataset)

    return learn


def of_head(head: RatingFactors, dataset: Dataset) -> ComparedAlgorithm:
    """In the very numbers that are served: float32, clipped to the scale."""
    users, items = _single(head.user_vectors), _single(head.item_vectors)
    user_biases, item_biases = _single(head.user_biases), _single(head.item_biases)

    def rate(user: Ints, item: Ints) -> NDArray[np.float64]:
        dots = np.einsum("nk,nk->n", users[user], items[item])
        raw = (head.mean + user_biases[user] + item_biases[item] + dots).astype(np.float64)
        return np.asarray(np.clip(raw, dataset.rating_min, dataset.rating_max))

    def score(user: Ints) -> NDArray[np.float64]:
        scores = users[user] @ items.T + item_biases
        return np.asarray(scores, np.float64)

    def answer(user: int) -> Float32:
        scores: Float32 = items @ users[user]
        scores += item_biases
        return scores

    held = items.nbytes + item_biases.nbytes
    return ComparedAlgorithm(
        Candidate("", rate, score), answer, held, held + users.nbytes + user_biases.nbytes
    )


def bias_only(dataset: Dataset, params: Params) -> ComparedAlgorithm:
    """Mean, user bias and item bias, and nothing else."""
    items, users = _single(biases.fit_biases(dataset).item_biases), dataset.n_users * 4
    rate = baselines.bias_baseline(dataset).rate
    return ComparedAlgorithm(
        Candidate("", rate, _same(items)), lambda user: items, items.nbytes, items.nbytes + users
    )


def popular(dataset: Dataset, params: Params) -> ComparedAlgorithm:
    """The same list for everybody: what is popular of late."""
    fractions = _single(_popularity(dataset, params).recent)
    return ComparedAlgorithm(
        Candidate("", score=_same(fractions)), lambda user: fractions, fractions.nbytes, fractions.nbytes
    )


def _same(scores: Float32) -> Callable[[Ints], NDArray[np.float64]]:
    return lambda users: np.tile(scores.astype(np.float64), (len(users), 1))


def svd_plus_plus(dataset: Dataset, params: Params) -> ComparedAlgorithm:
    """scikit-surprise's SVD++ with its defaults."""
    return of_head(to_rating_factors(surprise_svd.fit_svdpp(dataset, params.seed), dataset), dataset)


def full_rank_ease(dataset: Dataset, params: Params) -> ComparedAlgorithm:
    """EASE on the likes at full rank."""
    known = WeightedInteractions.from_dataset(dataset)
    likes = _matrix(known, (known.ratings >= like_threshold(dataset)).astype(float), dataset)
    weights = _single(ease.solve_regression(likes, likes, _EASE_RIDGE))
    return _of_history(likes, weights, _popularity(dataset, params), weights.nbytes)


def ranker(**changed: float) -> Learn:
    """The ranking head that is served, with some of its parameters changed."""

    def learn(dataset: Dataset, params: Params) -> ComparedAlgorithm:
        section = {**params.rankers["ease"], **changed}
        known, late = WeightedInteractions.from_dataset(dataset), _popularity(dataset, params)
        head = ease.fit(known, (dataset.n_users, dataset.n_items), late, section, params.seed)
        history = _matrix(known, known.weights, dataset)
        left, right = _single(head.rank_history), _single(head.rank_items)
        return _of_history(history, (left, right), late, left.nbytes + right.nbytes)

    return learn


def _of_history(
    history: csr_array,
    weights: Float32 | tuple[Float32, Float32],
    late: popularity.Popularity,
    held: int,
) -> ComparedAlgorithm:
    """Scores from the items of a user: through one matrix, or through two thin ones. No history: popularity."""
    fractions = _single(late.recent)
    first, second = weights if isinstance(weights, tuple) else (weights, None)
    start, items, values = history.indptr, history.indices, history.data.astype(np.float32)

    def score(users: Ints) -> NDArray[np.float64]:
        scores = history[users].astype(np.float32) @ first
        scores = np.asarray(scores if second is None else scores @ second.T, np.float64)
        scores[start[users] == start[users + 1]] = fractions
        return scores

    def answer(user: int) -> Float32:
        rows = slice(start[user], start[user + 1])
        taste = values[rows] @ first.take(items[rows], axis=0)
        scores: Float32 = taste if second is None else second @ taste
        return scores

    stored = held + fractions.nbytes
    return ComparedAlgorithm(
        Candidate("", score=score), answer, stored, stored + values.nbytes + items.nbytes
    )


def _matrix(
    known: WeightedInteractions, values: NDArray[np.float64], dataset: Dataset
) -> csr_array:
    shape = (dataset.n_users, dataset.n_items)
    found = csr_array((values, (known.users, known.items)), shape=shape)
    found.eliminate_zeros()
    return found


def _popularity(dataset: Dataset, params: Params) -> popularity.Popularity:
    return popularity.fit_popularity(
        WeightedInteractions.from_dataset(dataset), dataset.n_items, params.popularity
    )


def _single(array: NDArray[np.floating]) -> Float32:
    return np.ascontiguousarray(array, np.float32)
