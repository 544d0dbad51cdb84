"""Reference trainer: scikit-surprise's SVD, the biased matrix factorization of Funk, fitted by SGD."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from marquee.data.dataset import Dataset
from marquee.models.matrix_factorization import MatrixFactorization, to_rating_factors
from marquee.models.trainer_port import ProgressCallback, RatingFactors, read_section

# surprise's import creates a download directory, by default in a home directory that may be absent or read-only.
os.environ.setdefault("SURPRISE_DATA_FOLDER", tempfile.gettempdir())
import surprise


class SurpriseParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters by scikit-surprise's names, with one learning rate and one regularization for all terms."""

    n_factors: int
    n_epochs: int
    learning_rate: float
    regularisation: float


def fit(dataset: Dataset, params: Mapping[str, Any], seed: int, progress: ProgressCallback) -> RatingFactors:
    """Fit surprise's SVD and return its ``pu, qi, bu, bi`` as rating factors."""
    progress("fit", 0.0)
    algorithm = _fit_svd(dataset, read_section(params, SurpriseParams, "trainers.surprise_svd"), seed)
    progress("fit", 1.0)
    return to_rating_factors(to_factorization(algorithm), dataset)


def build_trainset(dataset: Dataset) -> surprise.Trainset:
    """Return the ratings as surprise's trainset, with the dataset's rows as raw ids."""
    ratings = dataset.ratings
    frame = pd.DataFrame({"user": ratings.users, "item": ratings.items, "rating": ratings.values})
    reader = surprise.Reader(rating_scale=(dataset.rating_min, dataset.rating_max))
    return surprise.Dataset.load_from_df(frame, reader).build_full_trainset()


def _fit_svd(dataset: Dataset, params: SurpriseParams, seed: int) -> surprise.SVD:
    algorithm = surprise.SVD(
        n_factors=params.n_factors,
        n_epochs=params.n_epochs,
        lr_all=params.learning_rate,
        reg_all=params.regularisation,
        random_state=seed,
    )
    return algorithm.fit(build_trainset(dataset))


def to_factorization(algorithm: surprise.SVD) -> MatrixFactorization:
    """Return the fitted factors of one of surprise's matrix factorizations."""
    trainset = algorithm.trainset
    return MatrixFactorization(
        mean=float(trainset.global_mean),
        users=np.array([trainset.to_raw_uid(u) for u in range(trainset.n_users)]),
        user_vectors=algorithm.pu,
        user_biases=algorithm.bu,
        items=np.array([trainset.to_raw_iid(i) for i in range(trainset.n_items)]),
        item_vectors=algorithm.qi,
        item_biases=algorithm.bi,
    )
