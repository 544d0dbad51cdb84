"""The compiled SGD gives what scikit-surprise's SVD gives."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.training.worlds import checkerboard, dataset, frame

from marquee.training import sgd, sources, surprise_svd
from marquee.training.dataset import Dataset
from marquee.training.factorisation import head_of
from marquee.training.surprise_svd import SurpriseParams
from marquee.training.trainer import RatingHead, silent


def _every_prediction(head: RatingHead) -> np.ndarray:
    dots = head.user_vectors @ head.item_vectors.T
    return head.mean + head.user_biases[:, None] + head.item_biases + dots


def _apart(data: Dataset, params: SurpriseParams, seed: int) -> float:
    ours = head_of(sgd.fit(data, params, seed, silent), data)
    theirs = head_of(surprise_svd.factorisation(surprise_svd.fit(data, params, seed)), data)
    return float(np.abs(_every_prediction(ours) - _every_prediction(theirs)).max())


def test_parity_on_movielens(base_data: Path) -> None:
    """With surprise's defaults every pair of MovieLens 100K is predicted as surprise does, within 1e-5."""
    data = dataset(sources.read_base(base_data, datetime(2000, 1, 1, tzinfo=UTC)).ratings)
    assert _apart(data, SurpriseParams(100, 20, 0.005, 0.02), 1) < 1e-5


@settings(max_examples=20)
@given(
    st.integers(1, 20),
    st.integers(1, 8),
    st.floats(0.001, 0.02),
    st.floats(0, 0.2),
    st.integers(0, 2**32 - 1),
)
def test_parity_with_any_parameters(
    factors: int, epochs: int, rate: float, regularisation: float, seed: int
) -> None:
    """Where neither runs away, whatever the numbers of factors and the seed."""
    data = dataset(checkerboard(12, 9))
    assert _apart(data, SurpriseParams(factors, epochs, rate, regularisation), seed) < 1e-5


def test_users_and_films_without_ratings() -> None:
    """Rows that a split left without ratings are treated alike by both."""
    rows = [(f"u{u}", f"f{f}+1", 1.0 + (u * f) % 5, u * 10 + f) for u in range(5) for f in range(5)]
    data = dataset(frame(*rows))
    held_out = (data.ratings.users == 2) | (data.ratings.items == 3)
    assert _apart(data.without_ratings(held_out), SurpriseParams(3, 5, 0.01, 0.02), 4) < 1e-9


def test_progress_goes_by_epochs() -> None:
    """One call an epoch, from nothing to everything."""
    seen: list[float] = []
    params = {"n_factors": 2, "n_epochs": 4, "learning_rate": 0.01, "regularisation": 0.02}
    head = sgd.train(dataset(checkerboard(6, 6)), params, 0, lambda step, done: seen.append(done))
    assert seen == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert replace(head).mean == pytest.approx(3.0, abs=0.5)
