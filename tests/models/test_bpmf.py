"""BPMF gives the right predictions where they are known by construction."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tests.support.synthetic_data import checkerboard, frame, sample_pairs, two_group_ratings

from marquee.data.dataset import Dataset
from marquee.data.side_information import SideInformation
from marquee.errors import TrainingDataError
from marquee.models.bpmf import trainer as bpmf
from marquee.models.bpmf.gibbs import BpmfFit, BpmfParams, fit_bpmf
from marquee.models.bpmf.sampler import Sampler
from marquee.models.bpmf.trainer import SIDE_INFORMATION_WEIGHT
from marquee.models.trainer_port import no_progress


def fit_groups(user: np.ndarray, item: np.ndarray, params: BpmfParams) -> BpmfFit:
    """Fit the ratings of two groups of users and of items."""
    return fit_bpmf(user, item, two_group_ratings(user, item), (60, 50), params, seed=1)


@pytest.mark.parametrize("factors", [1, 15, 16, 31])
def test_fit_bpmf_any_number_of_factors_fits_ratings(factors: int) -> None:
    """This holds for numbers that fill vector registers, and for numbers that are rounded up."""
    user, item = sample_pairs(60, 50, 0.3, 0)
    result = fit_groups(user, item, BpmfParams(factors=factors, served_rank=8, sweeps=40))
    predicted = result.mean + result.factors.predict(user, item)
    assert np.corrcoef(predicted, two_group_ratings(user, item))[0, 1] > 0.97


def test_fit_bpmf_two_groups_predicts_hidden_pairs() -> None:
    """With two groups of users and of items, pairs without a rating are predicted."""
    user, item = sample_pairs(60, 50, 0.3, 0)
    result = fit_groups(user, item, BpmfParams(factors=15, served_rank=8, sweeps=60))
    hidden_user, hidden_item = np.indices((60, 50)).reshape(2, -1)
    predicted = result.mean + result.factors.predict(hidden_user, hidden_item)
    np.testing.assert_allclose(predicted, two_group_ratings(hidden_user, hidden_item), atol=0.5)


def test_fit_bpmf_features_predict_users_without_ratings() -> None:
    """New users get the ratings of their group; a user without features gets ratings in between."""
    user, item = sample_pairs(200, 30, 0.4, 0)
    rating = np.where(user % 2, 4.5, 1.5) + np.random.default_rng(0).normal(0, 0.2, len(user))
    kind = np.zeros((203, 2))
    kind[np.arange(202), np.arange(202) % 2] = 1.0
    result = fit_bpmf(
        user,
        item,
        rating,
        (203, 30),
        user_features=[kind],
        params=BpmfParams(factors=15, served_rank=8, sweeps=120),
        seed=1,
    )
    mean = [
        float(np.mean(result.mean + result.factors.predict(np.full(30, u), np.arange(30)))) for u in (200, 201, 202)
    ]
    assert mean[0] < 2.2
    assert mean[1] > 3.8
    assert mean[0] < mean[2] < mean[1]


def test_fit_user_without_ratings_shrinks_side_information() -> None:
    """The factors of a user without ratings are a weighted mean of their side information's and the average user's."""
    kinds = {f"u{u:03}": {"gender": "FM"[u % 2]} for u in range(40)}
    ratings = checkerboard()
    data = Dataset.from_frames(ratings, frame(), 1.0, 5.0, SideInformation(kinds))
    data = data.without_ratings(data.ratings.users >= 38)
    served = bpmf.fit(data, {"factors": 15, "served_rank": 8, "sweeps": 12, "burn_in": 4}, 7, no_progress)
    raw = fit_bpmf(
        data.ratings.users,
        data.ratings.items,
        data.ratings.values,
        (data.n_users, data.n_items),
        user_features=data.user_features,
        params=BpmfParams(factors=15, served_rank=8, feature_rank=100, sweeps=12, burn_in=4),
        seed=7,
    ).factors
    average = raw.user_vectors[:38].mean(axis=0)
    expected = average + SIDE_INFORMATION_WEIGHT * (raw.user_vectors[38:] - average)
    np.testing.assert_allclose(served.user_vectors[38:], expected, atol=1e-5)
    np.testing.assert_allclose(served.prior.mean[:-1], average, atol=1e-5)
    raw_difference = float(raw.user_biases[38] - raw.user_biases[39])
    assert served.user_biases[38] - served.user_biases[39] == pytest.approx(
        SIDE_INFORMATION_WEIGHT * raw_difference, abs=1e-5
    )


def test_fit_unknown_users_and_movies_leave_the_others_unchanged() -> None:
    """Users and movies of which nothing is known change no bit of the others; such a user is the average user."""
    params = {"factors": 15, "served_rank": 8, "sweeps": 12, "burn_in": 4}
    unknown = frame(*((f"u{number:03}x", f"film+{number:03}x", 3.0, number) for number in range(0, 40, 3)))
    data = Dataset.from_frames(pd.concat([checkerboard(), unknown]), frame(), 1.0, 5.0)
    known_users, known_items = (
        np.array([not name.endswith("x") for name in names]) for names in (data.user_ids, data.movie_ids)
    )
    data = data.without_ratings(~known_users[data.ratings.users])
    alone = bpmf.fit(Dataset.from_frames(checkerboard(), frame(), 1.0, 5.0), params, 7, no_progress)
    beside = bpmf.fit(data, params, 7, no_progress)
    np.testing.assert_array_equal(beside.user_vectors[known_users], alone.user_vectors)
    np.testing.assert_array_equal(beside.item_vectors[known_items], alone.item_vectors)
    np.testing.assert_array_equal(beside.user_biases[known_users], alone.user_biases)
    assert not beside.item_vectors[~known_items].any()
    np.testing.assert_allclose(beside.user_vectors[~known_users], [alone.prior.mean[:-1]] * (~known_users).sum())


def test_fit_bpmf_time_limit_ends_the_chain() -> None:
    """A chain stops at the first sample after the time limit."""
    user, item = sample_pairs(60, 50, 0.3, 0)
    result = fit_groups(user, item, BpmfParams(factors=15, served_rank=64, sweeps=10**6, burn_in=1, seconds=0.0))
    assert result.sweeps == 2


@pytest.mark.parametrize(
    ("rating", "message"),
    [
        ([], "there are no ratings"),
        ([3.0, 3.0, 3.0], "all 3 ratings are 3"),
        ([1.0, float("nan"), float("inf")], "2 of 3 ratings are not finite"),
    ],
)
def test_fit_bpmf_unusable_ratings_are_refused(rating: list[float], message: str) -> None:
    """No ratings, constant ratings and non-finite ratings have an error each."""
    rows = np.arange(len(rating))
    with pytest.raises(TrainingDataError, match=message):
        fit_bpmf(rows, rows, np.array(rating), (3, 3), BpmfParams())


def test_fit_bpmf_row_out_of_range_is_refused() -> None:
    """The error names the valid rows."""
    with pytest.raises(TrainingDataError, match="one item of 0 to 1"):
        fit_bpmf(np.array([0, 1]), np.array([0, 2]), np.array([1.0, 2.0]), (2, 2), BpmfParams())


def test_sampler_noisy_raters_get_low_weight() -> None:
    """Half of the users rate at random, and the noise weights identify them."""
    rng = np.random.default_rng(0)
    user, item = sample_pairs(80, 60, 0.5, 0)
    rating = two_group_ratings(user, item)
    noisy = user >= 40
    rating[noisy] = rng.choice([1.0, 5.0], noisy.sum())
    chain = Sampler(user, item, rating, (80, 60), factors=15, seed=0)
    for _ in range(40):
        chain.sweep()
    assert chain.users.noise[:40].min() > chain.users.noise[40:].mean()
