"""The reference trainer gives surprise's own answers, and says plainly what it does not know."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import surprise
from tests.support.synthetic_data import checkerboard, checkerboard_rating, dataset, frame

from marquee.data import sources
from marquee.errors import SettingsError
from marquee.models import surprise_svd
from marquee.models.matrix_factorization import to_rating_factors
from marquee.models.trainer_port import load_trainer, no_progress
from marquee.training.params import Params
from marquee.training.train_model import train_model

PARAMS = Params.read(Path(__file__).parents[2] / "params.yaml")
SVD = {"n_factors": 16, "n_epochs": 10, "learning_rate": 0.005, "regularisation": 0.02}


def test_parity_with_surprise(base_data: Path) -> None:
    """What the artifact's float32 arrays answer is within 1e-5 of surprise's own ``predict``, trained apart."""
    source = sources.read_base(base_data, datetime(1997, 12, 1, tzinfo=UTC))
    data = dataset(source.ratings)
    params = replace_trainer(SVD)
    model = train_model(data, params)
    ids = pd.DataFrame(
        {
            "user": [data.user_ids[u] for u in data.ratings.users],
            "item": [data.movie_ids[i] for i in data.ratings.items],
            "rating": data.ratings.values,
        }
    )
    theirs = surprise.SVD(n_factors=16, n_epochs=10, lr_all=0.005, reg_all=0.02, random_state=params.seed)
    theirs.fit(surprise.Dataset.load_from_df(ids, surprise.Reader(rating_scale=(1, 5))).build_full_trainset())
    rng = np.random.default_rng(1)
    users, items = rng.integers(0, data.n_users, 2000), rng.integers(0, data.n_items, 2000)
    ours = model.mean + model.user_biases[users] + model.item_biases[items]
    ours = np.clip(ours + (model.user_vectors[users] * model.item_vectors[items]).sum(1), 1, 5)
    expected = [
        theirs.predict(data.user_ids[u], data.movie_ids[i]).est for u, i in zip(users, items, strict=True)
    ]
    np.testing.assert_allclose(ours, expected, atol=1e-5, rtol=0)


def test_parity_with_surprises_svd_plus_plus() -> None:
    """Once a user's items are added to his vector, its answers are those of the plain linear factors."""
    data = dataset(checkerboard(12, 9))
    factors = to_rating_factors(surprise_svd.fit_svdpp(data, 3), data)
    theirs = surprise.SVDpp(random_state=3).fit(surprise_svd.build_trainset(data))
    users, items = np.indices((12, 9)).reshape(2, -1).astype(np.int32)
    expected = [
        theirs.predict(u, i, clip=False).est for u, i in zip(users.tolist(), items.tolist(), strict=True)
    ]
    np.testing.assert_allclose(factors.predict(users, items), expected, atol=1e-9)


def replace_trainer(section: dict[str, float]) -> Params:
    import msgspec

    return msgspec.structs.replace(PARAMS, trainer="surprise_svd", trainers={"surprise_svd": section})


def test_a_checkerboard_is_learnt() -> None:
    """Where no bias explains anything the factors find the two kinds: hidden places are told apart."""
    data = dataset(checkerboard())
    params = {"n_factors": 4, "n_epochs": 150, "learning_rate": 0.02, "regularisation": 0.02}
    factors = surprise_svd.fit(data, params, 3, no_progress)
    users, items = (axis.ravel() for axis in np.meshgrid(range(40), range(40), indexing="ij"))
    rows = np.isin(users * 40 + items, data.pairs(data.ratings), invert=True)
    board = np.array([checkerboard_rating(u, i) for u, i in zip(users[rows], items[rows], strict=True)])
    predicted = factors.predict(users[rows].astype(np.int32), items[rows].astype(np.int32))
    assert ((predicted > 3) == (board > 3)).mean() > 0.98


def test_who_and_what_has_no_rating() -> None:
    """A user who only watched is the average of the others; an item that nobody rated has zeros."""
    data = dataset(checkerboard(8, 8), frame(("zz", "zz+2000", 90.0, 5)))
    factors = surprise_svd.fit(data, SVD, 0, no_progress)
    assert (data.user_ids[-1], data.movie_ids[-1]) == ("zz", "zz+2000")
    np.testing.assert_allclose(factors.user_vectors[-1], factors.user_vectors[:-1].mean(0), atol=1e-12)
    np.testing.assert_allclose(factors.user_biases[-1], factors.user_biases[:-1].mean(), atol=1e-12)
    assert not factors.item_vectors[-1].any()
    assert factors.item_biases[-1] == 0


def test_the_prior_is_the_gaussian_of_the_users(base_data: Path) -> None:
    """Folding a user in from his own ratings comes close to where training put him."""
    data = dataset(sources.read_base(base_data, datetime(1997, 12, 1, tzinfo=UTC)).ratings)
    model = train_model(data, PARAMS)
    rows = np.bincount(data.ratings.users) >= 100
    gaps = []
    for user in np.flatnonzero(rows)[:20]:
        mine = data.ratings.where(data.ratings.users == user)
        theta = fold_in(model, mine.items, mine.values)
        folded = model.item_vectors @ theta[:-1] + theta[-1]
        trained = model.item_vectors @ model.user_vectors[user] + model.user_biases[user]
        gaps.append(np.sqrt(np.mean((folded - trained) ** 2)))
    assert np.mean(gaps) < 0.15  # Of ratings whose own spread is 1.1.


def fold_in(model, items, values):  # type: ignore[no-untyped-def]
    """The posterior mean of theta under the model's prior, written out."""
    x = np.column_stack([model.item_vectors[items], np.ones(len(items))]).astype(float)
    residual = values - model.mean - model.item_biases[items]
    precision = model.prior_precision + model.noise_precision * x.T @ x
    return np.linalg.solve(
        precision, model.prior_precision @ model.prior_mean + model.noise_precision * x.T @ residual
    )


def test_few_users_still_give_a_proper_prior() -> None:
    """With fewer users than factors the prior's precision is finite and positive definite."""
    data = dataset(frame(("u", "a+1", 1.0, 1), ("u", "b+1", 5.0, 2), ("v", "a+1", 2.0, 3)))
    model = train_model(data, replace_trainer(SVD | {"n_factors": 20}))
    assert np.linalg.eigvalsh(model.prior_precision.astype(float)).min() > 0
    model.check()


def test_unknown_trainers_and_parameters_are_named() -> None:
    """A wrong name is an error that lists the right ones, before anything is trained."""
    with pytest.raises(SettingsError, match="surprise_svd"):
        load_trainer("magic")
    with pytest.raises(SettingsError, match=r"trainers\.surprise_svd.*factors"):
        surprise_svd.fit(dataset(checkerboard(4, 4)), SVD | {"factors": 3}, 0, no_progress)


def test_the_same_seed_gives_the_same_bits() -> None:
    """Two trainings of equal data and seed agree in every bit; another seed gives other numbers."""
    data = dataset(checkerboard(12, 12))
    first, again = surprise_svd.fit(data, SVD, 1, no_progress), surprise_svd.fit(data, SVD, 1, no_progress)
    other = surprise_svd.fit(data, SVD, 2, no_progress)
    assert first.user_vectors.tobytes() == again.user_vectors.tobytes()
    assert replace(first, mean=0).item_vectors.tobytes() != other.item_vectors.tobytes()
