"""Rating model of the cluster: probabilistic matrix factorization by variational Bayes, one pass over the users a step.

The model is that of BPMF without features: ``r_ui = mean + b_u + c_i + p_u . q_i + e`` with Gaussian priors of
``[p, b]`` and ``[q, c]`` (Salakhutdinov and Mnih, 2008). The posterior is approximated by independent Gaussians of
users and items (Lim and Teh, "Variational Bayesian Approach to Movie Rating Prediction", KDD Cup 2007). A user's
Gaussian follows from those of the items, so no worker keeps a state of users between two steps. A step returns sums
over the users of each item: of their second moments, [n_items, width * width].

At the end each user is folded in, as ``recommend`` does it (:mod:`marquee.scoring.fold_in`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array

from marquee.data.dataset import Dataset
from marquee.models.biases import SHRINKAGE
from marquee.models.trainer_port import Floats, ProgressCallback, RatingFactors
from marquee.models.user_prior import fit_user_prior, rated_items
from marquee.training.cluster.spark_session import SparkParams, Totals, sum_partitions
from marquee.training.cluster.user_shards import Catalog, Shard

if TYPE_CHECKING:
    from pyspark import RDD

# Users of the regression of implicit feedback, and of the prior's covariance.
_SAMPLED_USERS = 3_000
_PRIOR_ROWS, _PRIOR_VARIANCE = 1.0, 0.1
_START_PRECISION, _START_SPREAD = 2.0, 0.3
# Users whose matrices [width, width] are held at once.
_CHUNK = 4_096


class Gaussians(NamedTuple):
    """Independent Gaussians: ``mean`` [n, width] and ``covariance`` [n, width, width]."""

    mean: Floats
    covariance: Floats

    def second_moments(self) -> Floats:
        """Return E[x x'], [n, width, width]."""
        moments: Floats = self.covariance + self.mean[:, :, None] * self.mean[:, None, :]
        return moments


class Design(NamedTuple):
    """Expectations of ``x = [vector, 1]``, with which one side's ratings depend on the other side.

    ``x`` [n, width], ``outer`` [n, width * width] of x x', ``offset`` [n, width] of x times the bias, ``bias`` [n] and
    ``square`` [n] of the bias and its square.
    """

    x: Floats
    outer: Floats
    offset: Floats
    bias: Floats
    square: Floats

    @classmethod
    def expect(cls, side: Gaussians) -> Design:
        """Return the expectations for one side, whose last entry is the bias."""
        n, width = side.mean.shape
        second = side.second_moments()
        x = side.mean.copy()
        x[:, -1] = 1.0
        outer = second.copy()
        outer[:, -1, :] = outer[:, :, -1] = x
        offset = second[:, :, -1].copy()
        offset[:, -1] = side.mean[:, -1]
        return cls(x, outer.reshape(n, width * width), offset, side.mean[:, -1], second[:, -1, -1])


@dataclass(frozen=True, slots=True)
class ItemSide:
    """State between two steps; nothing in it grows with the users.

    ``prior_mean`` and ``prior_precision`` are of the users, ``noise_precision`` is of a rating. ``bias_only`` [n_items]
    are the item biases of the baseline without factors (:mod:`marquee.models.biases`).
    """

    mean: float
    items: Gaussians
    prior_mean: Floats
    prior_precision: Floats
    noise_precision: float
    bias_only: Floats


def fit_items(
    shards: RDD[Shard],
    catalog: Catalog,
    cut: int,
    start: Totals,
    params: SparkParams,
    seed: int,
    progress: ProgressCallback,
) -> ItemSide:
    """Fit the item side on the ratings before ``cut``. ``start`` are the sums of :func:`count_ratings`."""
    state = _start(start, params.factors + 1, seed)
    for step in range(params.iterations):
        progress("fit", step / params.iterations)
        state = _update(state, start, sum_partitions(shards.map(partial(_step, catalog, cut, state))))
    return state


def count_ratings(train: Dataset) -> Totals:
    """Return number and sum of the ratings of each item, and the sums of all."""
    ratings, n_items = train.ratings, train.n_items
    return {
        "rated": np.bincount(ratings.items, minlength=n_items).astype(np.float64),
        "sums": np.bincount(ratings.items, ratings.values, n_items),
        "squares": float((ratings.values**2).sum()),
        "rated_users": len(np.unique(ratings.users)),
    }


def finish(shards: RDD[Shard], catalog: Catalog, cut: int, state: ItemSide, start: Totals) -> RatingFactors:
    """Return the rating factors of the item side, without users.

    The users' prior is fitted on a sample of :data:`_SAMPLED_USERS`.
    """
    per_shard = -(-_SAMPLED_USERS // max(1, catalog.shards))
    sample = sum_partitions(shards.map(partial(_sample, catalog, cut, state, per_shard)))
    theta, residuals = np.vstack(sample["theta"]), np.concatenate(sample["residuals"])
    counts = np.concatenate(sample["counts"])
    indptr = np.concatenate([[0], np.cumsum(counts)])
    items = np.concatenate(sample["items"])
    rated = csr_array((np.ones(len(items)), items, indptr), shape=(len(theta), len(catalog.movie_ids)))
    prior = fit_user_prior(theta[:, :-1], theta[:, -1], rated, residuals)
    vectors, biases = state.items.mean[:, :-1], state.items.mean[:, -1]
    # Users choose items that suit them: see marquee.models.bpmf.trainer.
    average = state.mean + biases + vectors @ prior.mean[:-1] + prior.mean[-1]
    prior.mean[-1] += float((start["sums"] - start["rated"] * average).sum() / start["rated"].sum())
    none = np.empty(0)
    return RatingFactors(state.mean, none, np.empty((0, vectors.shape[1])), biases, vectors, prior)


def fit_user_biases(train: Dataset, mean: float, item_biases: Floats) -> Floats:
    """Return the users' biases of the baseline, given those of the items, [n_users]."""
    residuals = train.ratings.values - mean - item_biases[train.ratings.items]
    counts = np.bincount(train.ratings.users, minlength=train.n_users) + SHRINKAGE
    biases: Floats = np.bincount(train.ratings.users, residuals, train.n_users) / counts
    return biases


def _start(start: Totals, width: int, seed: int) -> ItemSide:
    n, total = len(start["rated"]), start["rated"].sum()
    mean = float(start["sums"].sum() / total)
    variance = max(float(start["squares"] / total) - mean**2, 1e-6)
    biases = (start["sums"] - mean * start["rated"]) / (start["rated"] + SHRINKAGE)
    vectors = _START_SPREAD * variance**0.5 * np.random.default_rng(seed).standard_normal((n, width))
    vectors[:, -1] = biases
    spread = np.tile(_START_SPREAD**2 * variance * np.eye(width), (n, 1, 1))
    precision = _START_PRECISION / variance * np.eye(width)
    return ItemSide(mean, Gaussians(vectors, spread), np.zeros(width), precision, 1 / variance, biases)


def _matrices(train: Dataset, mean: float, users: np.ndarray) -> tuple[csr_array, csr_array]:
    """Return 1 and the centered rating of each pair, [len(users), n_items]; ``users`` are those with ratings."""
    ratings, shape = train.ratings, (len(users), train.n_items)
    rows = np.searchsorted(users, ratings.users)
    ones = csr_array((np.ones(len(ratings)), (rows, ratings.items)), shape=shape)
    return ones, csr_array((ratings.values - mean, (rows, ratings.items)), shape=shape)


def _regress(
    ones: csr_array, values: csr_array, design: Design, prior: tuple[Floats, Floats], noise_precision: float
) -> Gaussians:
    """Return the posterior of each row of ``ones`` and ``values`` about the ``prior`` mean and precision."""
    mean, precision = prior
    width = len(mean)
    gram = (ones @ design.outer).reshape(-1, width, width)
    moment = values @ design.x - ones @ design.offset
    return _solve(precision + noise_precision * gram, precision @ mean + noise_precision * moment)


def _solve(precision: Floats, moment: Floats) -> Gaussians:
    covariance = np.linalg.inv(precision).astype(np.float64)
    return Gaussians(np.einsum("nij,nj->ni", covariance, moment), covariance)


def _step(catalog: Catalog, cut: int, state: ItemSide, shard: Shard) -> Totals:
    """Return what the users of the shard contribute to the items, to their own prior and to the noise."""
    train = shard.split(catalog, cut).train
    users = np.unique(train.ratings.users)
    ones, values = _matrices(train, state.mean, users)
    design, width = Design.expect(state.items), len(state.prior_mean)
    n = train.n_items
    totals: dict[str, Any] = {
        "outer": np.zeros((n, width * width), np.float32),
        "moment": np.zeros((n, width)),
        "theta": np.zeros(width),
        "second": np.zeros((width, width)),
        "errors": 0.0,
    }
    for first in range(0, len(users), _CHUNK):
        one, value = ones[first : first + _CHUNK], values[first : first + _CHUNK]
        theta = _regress(one, value, design, (state.prior_mean, state.prior_precision), state.noise_precision)
        own = Design.expect(theta)
        second = theta.second_moments()
        totals["outer"] += (one.T @ own.outer).astype(np.float32)
        totals["moment"] += value.T @ own.x - one.T @ own.offset
        totals["theta"] += theta.mean.sum(0)
        totals["second"] += second.sum(0)
        totals["errors"] += _expected_errors(one, value, design, theta.mean, second)
    biases = fit_user_biases(train, state.mean, state.bias_only)[train.ratings.users]
    residuals = train.ratings.values - state.mean - biases
    return {**totals, "biases": np.bincount(train.ratings.items, residuals, n)}


def _expected_errors(one: csr_array, value: csr_array, design: Design, theta: Floats, second: Floats) -> float:
    """Return the expected sum of squared errors of the ratings."""
    linear = (theta * (value @ design.x)).sum() + (value @ design.bias).sum()
    squares = (second.reshape(len(theta), -1) * (one @ design.outer)).sum()
    squares += 2 * (theta * (one @ design.offset)).sum() + (one @ design.square).sum()
    return float((value.data**2).sum() - 2 * linear + squares)


def _update(state: ItemSide, start: Totals, totals: Totals) -> ItemSide:
    """Return the next state: prior and noise from the users, then each item's posterior."""
    width, rated = len(state.prior_mean), start["rated"] > 0
    user_mean, user_precision = _fit_prior(totals["theta"], totals["second"], start["rated_users"])
    known = Gaussians(state.items.mean[rated], state.items.covariance[rated])
    mean, precision = _fit_prior(known.mean.sum(0), known.second_moments().sum(0), int(rated.sum()))
    gram = totals["outer"].astype(np.float64).reshape(-1, width, width)
    items = _solve(
        precision + state.noise_precision * gram, precision @ mean + state.noise_precision * totals["moment"]
    )
    return replace(
        state,
        items=items,
        prior_mean=user_mean,
        prior_precision=user_precision,
        noise_precision=float(start["rated"].sum() / max(totals["errors"], 1e-6 * start["rated"].sum())),
        bias_only=totals["biases"] / (start["rated"] + SHRINKAGE),
    )


def _fit_prior(total: Floats, second: Floats, n: int) -> tuple[Floats, Floats]:
    """Return mean and precision of ``n`` vectors from the sums of their moments."""
    mean = total / n
    width = len(mean)
    scatter = second - n * np.outer(mean, mean) + _PRIOR_ROWS * _PRIOR_VARIANCE * np.eye(width)
    precision = np.linalg.inv(scatter / (n + _PRIOR_ROWS))
    return mean, (precision + precision.T) / 2


def _sample(catalog: Catalog, cut: int, state: ItemSide, count: int, shard: Shard) -> Totals:
    """Return vectors, rated items and residuals of up to ``count`` users, evenly spaced."""
    train = shard.split(catalog, cut).train
    known = np.unique(train.ratings.users)
    if not len(known):
        return {}
    users = known[np.unique(np.linspace(0, len(known) - 1, min(count, len(known))).astype(int))]
    own = replace(train, ratings=train.ratings.where(np.isin(train.ratings.users, users)))
    prior = (state.prior_mean, state.prior_precision)
    matrices = _matrices(own, state.mean, users)
    theta = _regress(*matrices, Design.expect(state.items), prior, state.noise_precision).mean
    rows, items = np.searchsorted(users, own.ratings.users), own.ratings.items
    item_means = state.items.mean[items]
    fitted = state.mean + theta[rows, -1] + item_means[:, -1]
    fitted += np.einsum("nk,nk->n", theta[rows, :-1], item_means[:, :-1])
    rated = rated_items(own.ratings, users, (own.n_users, own.n_items))
    return {
        "theta": [theta],
        "items": [rated.indices],
        "counts": [np.diff(rated.indptr)],
        "residuals": [own.ratings.values - fitted],
    }
