"""Simulated logs for off-policy estimates: real rankers on MovieLens 100K, and customers with known tastes.

Each customer is a MovieLens user with part of their history. The probability that they begin a movie they examine
follows a model of all their ratings, the later ones included. Positions are examined by ``1 / log2(k + 1)``, which is
not the curve that the estimator fits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.sparse import csr_array

from benchmarks import movielens, user_splits
from benchmarks.experiment_users import Ints
from marquee.data.dataset import Dataset
from marquee.data.interactions import WeightedInteractions
from marquee.experiments.examination import ExaminationCurve, chances_of_arms, fit_examination
from marquee.experiments.off_policy import LoggedLists
from marquee.experiments.ratio_estimates import Floats
from marquee.models.popularity import fit_popularity

LENGTH = 20
EXAMINATION: Floats = 1 / np.log2(np.arange(1, LENGTH + 1) + 1)
LOGGING, RETRAINED, RECIPE, POPULAR = "logging", "retrained", "another recipe", "popularity"
_HISTORY, _LATER = 0.3, 0.25  # Part of each user's ratings that are unknown to the rankers, by time of training.
_MEAN_SUITS, _SPREAD = 0.05, 1.3
_HIGHEST, _TASTES = 0.6, (0.4, 1.6)  # The highest probability of all is 0.96.
_RIDGE = 300.0


@dataclass(frozen=True, slots=True)
class Chance:
    """An exploration policy: fraction of uniform lists, positions drawn at the end, and movies they are drawn from."""

    share: float
    tail: int
    pool: int


BEFORE = Chance(0.01, 3, 9)
RECOMMENDED = Chance(0.001, 1, 40)


@dataclass(frozen=True, slots=True)
class RankedUsers:
    """Real users: the ranking of unseen movies by each ranker, and the true probabilities.

    ``orders``: ranker -> movies, best first [n_users, n_movies]; those seen come last. ``suits``: probability that an
    examined movie is begun. ``activity``: lists per user, mean 1.
    """

    orders: dict[str, Ints]
    suits: Floats
    eligible: Ints
    activity: Floats

    def list_value(self, ranker: str) -> float:
        """Return the expected movies begun per list of a ranker without exploration."""
        top = np.take_along_axis(self.suits, self.orders[ranker][:, :LENGTH], 1)
        return float(self.activity @ (top @ EXAMINATION) / self.activity.sum())

    def exploration_cost(self, chance: Chance) -> float:
        """Return the exact fraction of movies begun that the logging ranker loses by exploration."""
        order = self.orders[LOGGING]
        fixed = LENGTH - chance.tail
        ranked = np.take_along_axis(self.suits, order[:, : fixed + chance.pool], 1)
        tail = ranked[:, fixed:].mean(1) * EXAMINATION[fixed:].sum()
        reachable = np.arange(order.shape[1]) < self.eligible[:, None]
        uniform = (np.take_along_axis(self.suits, order, 1) * reachable).sum(1) / self.eligible * EXAMINATION.sum()
        by_user = chance.share * uniform + (1 - chance.share) * (ranked[:, :fixed] @ EXAMINATION[:fixed] + tail)
        with_chance = float(self.activity @ by_user / self.activity.sum())
        return 1 - with_chance / self.list_value(LOGGING)


@cache
def load_ranked_users() -> RankedUsers:
    """Return the rankers' orders of MovieLens' users, and their tastes."""
    data = movielens.load().dataset
    known = user_splits.per_user_holdout(data, _HISTORY).train
    later = user_splits.per_user_holdout(data, _LATER).train
    history = _matrix(WeightedInteractions.from_dataset(known), known)
    seen = history.toarray() > 0
    scores = {
        LOGGING: _score("ease", known, history),
        RETRAINED: _score("ease", later, history),
        RECIPE: _score("pure_svd", known, history),
    }
    recent = fit_popularity(WeightedInteractions.from_dataset(known), data.n_items, movielens.PARAMS.popularity).recent
    scores[POPULAR] = np.tile(recent, (data.n_users, 1))
    orders = {name: np.argsort(-np.where(seen, -np.inf, one), axis=1, kind="stable") for name, one in scores.items()}
    counts = np.bincount(data.ratings.users, minlength=data.n_users)
    return RankedUsers(orders, _fit_taste(data), (~seen).sum(1), counts / counts.mean())


def draw_lists(
    people: RankedUsers, rng: np.random.Generator, size: int, target: str, chance: Chance, ranker: str = LOGGING
) -> LoggedLists:
    """Return ``size`` lists of ``ranker``, shown to customers with tastes of their own, as the log of ``target``."""
    user, real, taste = _draw_customers(people, rng, size)
    fixed = LENGTH - chance.tail
    rank = np.tile(np.arange(1, LENGTH + 1), (size, 1))
    keys = rng.random((size, chance.pool))
    rank[:, fixed:] = fixed + 1 + np.argsort(keys, axis=1)[:, : chance.tail]
    for row in np.flatnonzero(rng.random(size) < chance.share):
        rank[row] = rng.choice(people.eligible[real[row]], LENGTH, replace=False) + 1
    orders = people.orders[ranker]
    movie = orders[real[:, None], rank - 1]
    outcome = rng.random(rank.shape) < EXAMINATION * people.suits[real[:, None], movie] * taste[:, None]
    position = np.argsort(people.orders[target], axis=1)[:, :] + 1
    shown_at = position[real[:, None], movie]
    ranked_at = np.argsort(orders, axis=1) + 1
    wanted = people.orders[target][:, :LENGTH]
    return LoggedLists(
        user=user,
        rank=rank,
        outcome=outcome.astype(float),
        eligible=people.eligible[real],
        share=np.full(size, chance.share),
        tail=np.full(size, chance.tail),
        pool=np.full(size, chance.pool),
        target=np.where(shown_at <= LENGTH, shown_at, 0),
        support=np.take_along_axis(ranked_at, wanted, 1)[real],
    )


def fit_curve(people: RankedUsers, rng: np.random.Generator, size: int) -> ExaminationCurve:
    """Fit the examination to the lists of an earlier canary: two versions, each shown to half of the customers."""
    plain = Chance(0.0, 0, 0)
    logs = [draw_lists(people, rng, size // 2, b, plain, a) for a, b in ((LOGGING, RETRAINED), (RETRAINED, LOGGING))]
    shown, other = [], []
    for lists in logs:
        row, column = np.nonzero((lists.outcome > 0) & (lists.target > 0))
        shown.append(column + 1)
        other.append(lists.target[row, column])
    position, swapped = np.concatenate(shown), np.concatenate(other)
    return fit_examination(position, chances_of_arms(position, swapped, LENGTH))


def _draw_customers(people: RankedUsers, rng: np.random.Generator, size: int) -> tuple[Ints, Ints, Floats]:
    """Return customer, real user and taste (mean 1) of each list; a tenth as many customers as lists."""
    real = rng.integers(0, len(people.activity), max(size // 10, 1))
    cumulative = people.activity[real].cumsum()
    customer = np.searchsorted(cumulative / cumulative[-1], rng.random(size))
    return customer, real[customer], rng.uniform(*_TASTES, len(real))[customer]


def _score(ranker: str, dataset: Dataset, history: csr_array) -> Floats:
    _, factors = movielens.fit_ranker(dataset, ranker)
    return np.asarray((history @ factors.rank_history) @ factors.rank_items.T)


def _fit_taste(data: Dataset) -> Floats:
    """Return the probability that each user begins each movie they examine, from a full-rank model of all ratings."""
    interactions = WeightedInteractions.from_dataset(data)
    weights = _matrix(interactions, data).toarray()
    inverse = np.linalg.inv(weights.T @ weights + _RIDGE * np.eye(data.n_items))
    regression = -inverse / np.diag(inverse)  # EASE: Steck, WWW 2019.
    np.fill_diagonal(regression, 0)
    scores = weights @ regression
    standard = (scores - scores.mean(1, keepdims=True)) / scores.std(1, keepdims=True)
    return np.asarray(np.minimum(_MEAN_SUITS * np.exp(_SPREAD * (standard - 1) / 2), _HIGHEST))


def _matrix(interactions: WeightedInteractions, data: Dataset) -> csr_array:
    values = (interactions.weights, (interactions.users, interactions.items))
    return csr_array(values, shape=(data.n_users, data.n_items))
