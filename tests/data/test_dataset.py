"""Datasets do not depend on the order of rows, and splits keep test data out of the training part."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.synthetic_data import dataset, frame

from benchmarks import user_splits
from marquee.data import splits
from marquee.data.base_checks import latest_per_pair
from marquee.data.dataset import Dataset
from marquee.errors import TrainingDataError

users = st.sampled_from(["u1", "u2", "u3", "10", "9"])
movies = st.sampled_from(["a+1990", "b+1991", "c+1992", "d+1993"])
row = st.tuples(users, movies, st.sampled_from([1.0, 2.0, 3.0, 4.0, 5.0]), st.integers(0, 12))
watched = st.tuples(users, movies, st.integers(0, 120).map(float), st.integers(0, 12))


def frames(rows: list[tuple[str, str, float, int]]) -> pd.DataFrame:
    return latest_per_pair(frame(*rows)) if rows else frame()


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    ratings = draw(st.lists(row, min_size=1, max_size=40))
    watch_sessions = draw(st.lists(watched, max_size=20))
    return dataset(frames(ratings), frames(watch_sessions))


@given(st.lists(row, min_size=1, max_size=30), st.randoms())
def test_dataset_row_order_does_not_change_digest(rows: list[tuple[str, str, float, int]], random) -> None:  # type: ignore[no-untyped-def]
    """The same ratings in another order give the same digest."""
    ratings = frames(rows)
    order = list(range(len(ratings)))
    random.shuffle(order)
    assert dataset(ratings).sha256() == dataset(ratings.iloc[order]).sha256()


@given(datasets())
def test_dataset_rows_have_ids_and_are_in_time_order(data: Dataset) -> None:
    """Every row number has an id, and the rows are in order of time."""
    assert data.ratings.users.max() < data.n_users
    assert data.ratings.items.max() < data.n_items
    assert (np.diff(data.ratings.times) >= 0).all()
    assert list(data.user_ids) == sorted(set(data.user_ids))


@given(datasets(), st.sampled_from([0.05, 0.1, 0.5, 0.9]))
def test_temporal_holdout_training_part_is_older_than_test(data: Dataset, fraction: float) -> None:
    """Every training event, watch sessions included, is older than every test rating."""
    try:
        split = splits.temporal_holdout(data, fraction)
    except TrainingDataError:
        times = data.ratings.times
        assert times[int(len(times) * (1 - fraction))] == times[0]
        return
    split_time = split.test.times.min()
    assert split.train.ratings.times.max() < split_time
    assert (split.train.watch_sessions.times < split_time).all()
    assert not set(split.train.pairs(split.train.watch_sessions)) & set(data.pairs(split.test))
    assert len(split.train.ratings) + len(split.test) == len(data.ratings)
    assert len(split.test) >= int(len(data.ratings) * fraction)


@given(datasets(), st.sampled_from([0.2, 0.5]))
def test_per_user_holdout_holds_out_each_users_newest_ratings(data: Dataset, fraction: float) -> None:
    """Of a user's n ratings the newest floor(n * fraction) are tested out."""
    split = user_splits.per_user_holdout(data, fraction)
    for user in range(data.n_users):
        trained = split.train.ratings.times[split.train.ratings.users == user]
        tested = split.test.times[split.test.users == user]
        assert len(tested) == int((len(trained) + len(tested)) * fraction)
        assert not len(tested) or trained.max() <= tested.min()


@given(datasets(), st.integers(2, 5), st.integers(0, 3))
def test_k_folds_test_each_rating_once(data: Dataset, n_folds: int, seed: int) -> None:
    """Each rating is in the test of exactly one fold and in the training part of all others."""
    tested = []
    for split in user_splits.k_folds(data, n_folds, seed):
        tested += data.pairs(split.test).tolist()
        assert not set(data.pairs(split.test)) & set(data.pairs(split.train.ratings))
        assert len(split.test) + len(split.train.ratings) == len(data.ratings)
    assert sorted(tested) == sorted(data.pairs(data.ratings).tolist())


def test_temporal_holdout_single_time_is_refused() -> None:
    """Ratings at a single time cannot be split, and the error says so."""
    with pytest.raises(TrainingDataError, match="2 ratings at 1 distinct times"):
        splits.temporal_holdout(dataset(frame(("u", "a+1", 3.0, 5), ("u", "b+1", 4.0, 5))), 0.5)


def test_dataset_any_change_changes_digest() -> None:
    """Another id, rating, time or watch session gives another digest."""
    base = [("u", "a+1", 3.0, 5), ("v", "a+1", 4.0, 6)]
    digests = {
        dataset(frame(*base)).sha256(),
        dataset(frame(base[0], ("w", "a+1", 4.0, 6))).sha256(),
        dataset(frame(base[0], ("v", "a+1", 5.0, 6))).sha256(),
        dataset(frame(base[0], ("v", "a+1", 4.0, 7))).sha256(),
        dataset(frame(*base), frame(("u", "a+1", 3.0, 5))).sha256(),
    }
    assert len(digests) == 5
