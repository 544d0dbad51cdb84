"""The reference trainer returns surprise's predictions, and defines users and items without ratings."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
import surprise
from tests.support.synthetic_data import checkerboard, checkerboard_rating, dataset, frame

from marquee.data import sources
from marquee.errors import SettingsError
from marquee.models import surprise_svd
from marquee.models.trainer_port import load_trainer, no_progress
from marquee.registry.trained_model import TrainedModel
from marquee.training.params import Params
from marquee.training.train_model import train_model

PARAMS = Params.read(Path(__file__).parents[2] / "params.yaml")
SVD: dict[str, Any] = {"n_factors": 16, "n_epochs": 10, "learning_rate": 0.005, "regularisation": 0.02}


def with_surprise(section: dict[str, Any]) -> Params:
    """Return the parameters with surprise as the trainer."""
    return msgspec.structs.replace(PARAMS, trainer="surprise_svd", trainers={"surprise_svd": section})


def fold_in(model: TrainedModel, items: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the posterior mean of a user's [vector, bias] under the model's prior."""
    x = np.column_stack([model.item_vectors[items], np.ones(len(items))]).astype(float)
    residual = values - model.mean - model.item_biases[items]
    precision = model.prior_precision + model.noise_precision * x.T @ x
    moment = model.prior_precision @ model.prior_mean + model.noise_precision * x.T @ residual
    return np.linalg.solve(precision, moment)


def test_train_model_surprise_equals_surprise_predictions(base_data: Path) -> None:
    """The float32 factors predict within 1e-5 of surprise's own ``predict``, trained separately."""
    data = dataset(sources.read_base(base_data, datetime(1997, 12, 1, tzinfo=UTC)).ratings)
    params = with_surprise(SVD)
    model = train_model(data, params)
    ids = pd.DataFrame(
        {
            "user": [data.user_ids[u] for u in data.ratings.users],
            "item": [data.movie_ids[i] for i in data.ratings.items],
            "rating": data.ratings.values,
        }
    )
    reference = surprise.SVD(n_factors=16, n_epochs=10, lr_all=0.005, reg_all=0.02, random_state=params.seed)
    reference.fit(surprise.Dataset.load_from_df(ids, surprise.Reader(rating_scale=(1, 5))).build_full_trainset())
    rng = np.random.default_rng(1)
    users, items = rng.integers(0, data.n_users, 2000), rng.integers(0, data.n_items, 2000)
    predicted = model.mean + model.user_biases[users] + model.item_biases[items]
    predicted = np.clip(predicted + (model.user_vectors[users] * model.item_vectors[items]).sum(1), 1, 5)
    expected = [reference.predict(data.user_ids[u], data.movie_ids[i]).est for u, i in zip(users, items, strict=True)]
    np.testing.assert_allclose(predicted, expected, atol=1e-5, rtol=0)


def test_fit_checkerboard_predicts_hidden_pairs() -> None:
    """If biases explain nothing, the factors find the two kinds and predict pairs without a rating."""
    data = dataset(checkerboard())
    params = {"n_factors": 4, "n_epochs": 150, "learning_rate": 0.02, "regularisation": 0.02}
    factors = surprise_svd.fit(data, params, 3, no_progress)
    users, items = (axis.ravel() for axis in np.meshgrid(range(40), range(40), indexing="ij"))
    rows = np.isin(users * 40 + items, data.pairs(data.ratings), invert=True)
    board = np.array([checkerboard_rating(u, i) for u, i in zip(users[rows], items[rows], strict=True)])
    predicted = factors.predict(users[rows].astype(np.int32), items[rows].astype(np.int32))
    assert ((predicted > 3) == (board > 3)).mean() > 0.98


def test_fit_without_ratings_gives_mean_user_and_zero_item() -> None:
    """A user who only watched gets the mean of the others; an item without ratings gets zeros."""
    data = dataset(checkerboard(8, 8), frame(("zz", "zz+2000", 90.0, 5)))
    factors = surprise_svd.fit(data, SVD, 0, no_progress)
    assert (data.user_ids[-1], data.movie_ids[-1]) == ("zz", "zz+2000")
    np.testing.assert_allclose(factors.user_vectors[-1], factors.user_vectors[:-1].mean(0), atol=1e-12)
    np.testing.assert_allclose(factors.user_biases[-1], factors.user_biases[:-1].mean(), atol=1e-12)
    assert not factors.item_vectors[-1].any()
    assert factors.item_biases[-1] == 0


def test_user_prior_fold_in_is_near_the_trained_user(base_data: Path) -> None:
    """Folding in a user with their own ratings predicts nearly what their trained vector predicts."""
    data = dataset(sources.read_base(base_data, datetime(1997, 12, 1, tzinfo=UTC)).ratings)
    model = train_model(data, PARAMS)
    active = np.bincount(data.ratings.users) >= 100
    gaps = []
    for user in np.flatnonzero(active)[:20]:
        ratings = data.ratings.where(data.ratings.users == user)
        theta = fold_in(model, ratings.items, ratings.values)
        folded = model.item_vectors @ theta[:-1] + theta[-1]
        trained = model.item_vectors @ model.user_vectors[user] + model.user_biases[user]
        gaps.append(np.sqrt(np.mean((folded - trained) ** 2)))
    assert np.mean(gaps) < 0.15  # The ratings themselves have a standard deviation of 1.1.


def test_user_prior_few_users_is_positive_definite() -> None:
    """With fewer users than factors, the precision is finite and positive definite."""
    data = dataset(frame(("u", "a+1", 1.0, 1), ("u", "b+1", 5.0, 2), ("v", "a+1", 2.0, 3)))
    model = train_model(data, with_surprise(SVD | {"n_factors": 20}))
    assert np.linalg.eigvalsh(model.prior_precision.astype(float)).min() > 0
    model.check()


def test_load_trainer_unknown_name_lists_known_names() -> None:
    """The error for a wrong name lists the trainers that exist."""
    with pytest.raises(SettingsError, match="surprise_svd"):
        load_trainer("magic")


def test_fit_unknown_parameter_is_refused() -> None:
    """The error names the section and the wrong parameter, before anything is trained."""
    with pytest.raises(SettingsError, match=r"trainers\.surprise_svd.*factors"):
        surprise_svd.fit(dataset(checkerboard(4, 4)), SVD | {"factors": 3}, 0, no_progress)


def test_fit_same_seed_gives_same_bits() -> None:
    """Equal data and seed give equal bits, another seed other numbers."""
    data = dataset(checkerboard(12, 12))
    first, again, other = (surprise_svd.fit(data, SVD, seed, no_progress) for seed in (1, 1, 2))
    assert first.user_vectors.tobytes() == again.user_vectors.tobytes()
    assert replace(first, mean=0).item_vectors.tobytes() != other.item_vectors.tobytes()
