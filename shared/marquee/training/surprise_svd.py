"""The reference trainer: SVD of scikit-surprise, the biased matrix factorisation of Funk, by SGD."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import surprise

from marquee.training import prior
from marquee.training.dataset import Dataset
from marquee.training.trainer import Floats, Progress, RatingHead, section


class SurpriseParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """As scikit-surprise names them, with one learning rate and one regularisation for all terms."""

    n_factors: int
    n_epochs: int
    learning_rate: float
    regularisation: float


def train(dataset: Dataset, params: Mapping[str, Any], seed: int, progress: Progress) -> RatingHead:
    """Fit surprise's SVD; its ``pu, qi, bu, bi`` become the rating head."""
    progress("fit", 0.0)
    algorithm = fit(dataset, section(params, SurpriseParams, "surprise_svd"), seed)
    progress("fit", 1.0)
    return head_of(algorithm, dataset)


def fit(dataset: Dataset, params: SurpriseParams, seed: int) -> surprise.SVD:
    """surprise's own object, trained on row numbers as its raw ids."""
    ratings = dataset.ratings
    frame = pd.DataFrame({"user": ratings.users, "item": ratings.items, "rating": ratings.values})
    reader = surprise.Reader(rating_scale=(dataset.rating_min, dataset.rating_max))
    algorithm = surprise.SVD(
        n_factors=params.n_factors,
        n_epochs=params.n_epochs,
        lr_all=params.learning_rate,
        reg_all=params.regularisation,
        random_state=seed,
    )
    return algorithm.fit(surprise.Dataset.load_from_df(frame, reader).build_full_trainset())


def head_of(algorithm: surprise.SVD, dataset: Dataset) -> RatingHead:
    """The factors by our rows. surprise drops the terms of whom it does not know without a word; here a
    user without ratings explicitly is the average of those with some, a film without ratings is all zeros."""
    known = algorithm.trainset
    users = np.array([known.to_raw_uid(u) for u in range(known.n_users)])
    items = np.array([known.to_raw_iid(i) for i in range(known.n_items)])
    ratings = dataset.ratings
    item_vectors = _spread(algorithm.qi, items, dataset.n_items)
    item_biases = _spread(algorithm.bi, items, dataset.n_items)
    user_vectors = _spread(algorithm.pu, users, dataset.n_users)
    user_biases = _spread(algorithm.bu, users, dataset.n_users)
    fitted = np.einsum("nk,nk->n", user_vectors[ratings.users], item_vectors[ratings.items])
    fitted += known.global_mean + user_biases[ratings.users] + item_biases[ratings.items]
    expected = prior.of_users(algorithm.pu, algorithm.bu, ratings.values - fitted)
    unknown = np.setdiff1d(np.arange(dataset.n_users), users)
    user_vectors[unknown], user_biases[unknown] = expected.mean[:-1], expected.mean[-1]
    return RatingHead(
        float(known.global_mean), user_biases, user_vectors, item_biases, item_vectors, expected
    )


def _spread(rows: Floats, to: np.ndarray, n: int) -> Floats:
    full = np.zeros((n, *rows.shape[1:]))
    full[to] = rows
    return full
