"""The reference trainer: SVD of scikit-surprise, the biased matrix factorisation of Funk, by SGD."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from marquee.training import prior
from marquee.training.dataset import Dataset
from marquee.training.trainer import Floats, Progress, RatingHead, section

# Its import makes a folder for downloads, in a home directory that need not be there or writable.
os.environ.setdefault("SURPRISE_DATA_FOLDER", tempfile.gettempdir())
import surprise


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
    return head_of(factorisation(algorithm), dataset)


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


@dataclass(frozen=True, slots=True)
class Factorisation:
    """``mean + user_biases + item_biases + user_vectors . item_vectors`` of the rows that have ratings.

    ``users[j]`` is the dataset's row of the j-th user vector; likewise the items.
    """

    mean: float
    users: NDArray[np.integer]
    user_vectors: Floats
    user_biases: Floats
    items: NDArray[np.integer]
    item_vectors: Floats
    item_biases: Floats


def factorisation(algorithm: surprise.SVD) -> Factorisation:
    """surprise's ``pu, qi, bu, bi``."""
    known = algorithm.trainset
    return Factorisation(
        mean=float(known.global_mean),
        users=np.array([known.to_raw_uid(u) for u in range(known.n_users)]),
        user_vectors=algorithm.pu,
        user_biases=algorithm.bu,
        items=np.array([known.to_raw_iid(i) for i in range(known.n_items)]),
        item_vectors=algorithm.qi,
        item_biases=algorithm.bi,
    )


def head_of(found: Factorisation, dataset: Dataset) -> RatingHead:
    """The factors by our rows. surprise drops the terms of whom it does not know without a word; here a
    user without ratings explicitly is the average of those with some, a film without ratings is all zeros."""
    ratings = dataset.ratings
    item_vectors = _spread(found.item_vectors, found.items, dataset.n_items)
    item_biases = _spread(found.item_biases, found.items, dataset.n_items)
    user_vectors = _spread(found.user_vectors, found.users, dataset.n_users)
    user_biases = _spread(found.user_biases, found.users, dataset.n_users)
    fitted = np.einsum("nk,nk->n", user_vectors[ratings.users], item_vectors[ratings.items])
    fitted += found.mean + user_biases[ratings.users] + item_biases[ratings.items]
    expected = prior.of_users(found.user_vectors, found.user_biases, ratings.values - fitted)
    unknown = np.setdiff1d(np.arange(dataset.n_users), found.users)
    user_vectors[unknown], user_biases[unknown] = expected.mean[:-1], expected.mean[-1]
    return RatingHead(found.mean, user_biases, user_vectors, item_biases, item_vectors, expected)


def _spread(rows: Floats, to: NDArray[np.integer], n: int) -> Floats:
    full = np.zeros((n, *rows.shape[1:]))
    full[to] = rows
    return full
