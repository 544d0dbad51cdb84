"""The reference trainer: SVD of scikit-surprise, the biased matrix factorisation of Funk, by SGD."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from marquee.data.dataset import Dataset
from marquee.models.matrix_factorization import MatrixFactorization, to_rating_factors
from marquee.models.trainer_port import Progress, RatingFactors, read_section

# Its import makes a folder for downloads, in a home directory that need not be there or writable.
os.environ.setdefault("SURPRISE_DATA_FOLDER", tempfile.gettempdir())
import surprise


class SurpriseParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """As scikit-surprise names them, with one learning rate and one regularisation for all terms."""

    n_factors: int
    n_epochs: int
    learning_rate: float
    regularisation: float


def train(dataset: Dataset, params: Mapping[str, Any], seed: int, progress: Progress) -> RatingFactors:
    """Fit surprise's SVD; its ``pu, qi, bu, bi`` become the rating head."""
    progress("fit", 0.0)
    algorithm = fit(dataset, read_section(params, SurpriseParams, "surprise_svd"), seed)
    progress("fit", 1.0)
    return to_rating_factors(factorisation(algorithm), dataset)


def fit(dataset: Dataset, params: SurpriseParams, seed: int) -> surprise.SVD:
    """Surprise's own object, trained on :func:`trainset`."""
    algorithm = surprise.SVD(
        n_factors=params.n_factors,
        n_epochs=params.n_epochs,
        lr_all=params.learning_rate,
        reg_all=params.regularisation,
        random_state=seed,
    )
    return algorithm.fit(trainset(dataset))


def trainset(dataset: Dataset) -> surprise.Trainset:
    """The ratings as surprise holds them, with our row numbers as its raw ids."""
    ratings = dataset.ratings
    frame = pd.DataFrame({"user": ratings.users, "item": ratings.items, "rating": ratings.values})
    reader = surprise.Reader(rating_scale=(dataset.rating_min, dataset.rating_max))
    return surprise.Dataset.load_from_df(frame, reader).build_full_trainset()


def factorisation(algorithm: surprise.SVD) -> MatrixFactorization:
    """Surprise's ``pu, qi, bu, bi``."""
    known = algorithm.trainset
    return MatrixFactorization(
        mean=float(known.global_mean),
        users=np.array([known.to_raw_uid(u) for u in range(known.n_users)]),
        user_vectors=algorithm.pu,
        user_biases=algorithm.bu,
        items=np.array([known.to_raw_iid(i) for i in range(known.n_items)]),
        item_vectors=algorithm.qi,
        item_biases=algorithm.bi,
    )


def fit_svdpp(dataset: Dataset, seed: int) -> MatrixFactorization:
    """Surprise's SVD++ with its defaults; what a user's items say of him is added to his vector once and for all."""
    found = surprise.SVDpp(random_state=seed).fit(trainset(dataset))
    vectors = found.pu.copy()
    for user, rated in found.trainset.ur.items():
        vectors[user] += found.yj[[item for item, _ in rated]].sum(0) / np.sqrt(len(rated))
    return replace(factorisation(found), user_vectors=vectors)
