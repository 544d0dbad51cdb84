"""Tests of explanations: shares are the score, and taking a movie out of the history takes its share away."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from tests.serving.models import make_movie_id
from tests.serving.test_rules import NOW, get_state

from marquee.registry.policy import Pin, Policy, Quota
from marquee.scoring.fold_in import FoldIn, Prior
from marquee.scoring.level_drift import Drift
from marquee.scoring.list_random import ListRandom
from marquee.serving.engine import Engine
from marquee.serving.explanations import compute_shares, explain_list, find_first_reasons
from marquee.serving.exploration import Exploration
from marquee.serving.list_builder import ListContext
from marquee.serving.list_request import ListRequest
from marquee.serving.user_state import EMPTY, UserState

FLOAT32 = 2e-6
"""Rounding of a float32 sum of this size."""


def leave_out(state: UserState, position: int) -> UserState:
    """Return the state without one movie of the history."""
    return UserState(
        np.delete(state.items, position), np.delete(state.ratings, position), np.delete(state.weights, position)
    )


@pytest.mark.parametrize("user", range(8))
def test_compute_shares_sum_to_the_score_and_vanish_with_the_movie(catalog_engine: Engine, user: int) -> None:
    """The shares of all past movies sum to the score; without one, the score is lower by exactly its share."""
    state = get_state(catalog_engine, user)
    rows = list(range(120))
    scores = catalog_engine.rank(state, ())[1].scores()
    shares = compute_shares(catalog_engine, state, rows)
    assert np.abs(shares.sum(axis=1) - scores).max() < FLOAT32
    for position in range(len(state.items)):
        without = catalog_engine.rank(leave_out(state, position), ())[1].scores()
        assert np.abs(scores - without - shares[:, position]).max() < FLOAT32


def test_explain_list_parts_sum_to_score_and_rating(catalog_engine: Engine) -> None:
    """History, trend and popularity sum to the score, and the parts of a rating to the rating; reasons are sorted."""
    state = get_state(catalog_engine, 1)
    result = catalog_engine.make_list(state, ListRequest(), ListContext(policy=Policy(cost_weight=0.5), now=NOW))
    for movie, explanation in zip(result.movies, explain_list(catalog_engine, state, result, 3), strict=True):
        assert sum(msgspec.structs.astuple(explanation.score)) == pytest.approx(movie.score, abs=FLOAT32)
        assert explanation.score.trend
        assert explanation.score.popularity > 0
        assert explanation.score.cost < 0
        rating = explanation.rating
        assert rating is not None
        assert rating.baseline + rating.ratings + rating.other == pytest.approx(movie.rating, abs=1e-5)
        shares = [reason.share for reason in explanation.because]
        assert shares == sorted(shares, reverse=True)
        assert all(share > 0 for share in shares)
        assert all(reason.title == f"Movie {reason.movie_id.split('+')[1]}" for reason in explanation.because)


def test_explain_list_parts_of_zero_are_not_encoded(catalog_engine: Engine) -> None:
    """An answer has a part for license fees only where the policy deducts them."""
    state = get_state(catalog_engine, 1)
    result = catalog_engine.make_list(state, ListRequest(), ListContext(now=NOW))
    encoded = [msgspec.to_builtins(one.score) for one in explain_list(catalog_engine, state, result, 3)]
    assert all(parts.keys() == {"history", "trend", "popularity"} for parts in encoded)


def test_explain_list_folded_in_rating_is_the_sum_of_its_shares(catalog_engine: Engine) -> None:
    """A prediction by fold-in needs nothing beside the ratings, unless it was clipped to the scale."""
    state = msgspec.structs.replace(get_state(catalog_engine, 1), record=None)
    result = catalog_engine.make_list(state, ListRequest(), ListContext())
    unclipped = 0
    for movie, explanation in zip(result.movies, explain_list(catalog_engine, state, result, 10), strict=True):
        assert explanation.rating is not None
        if movie.rating is not None and 1 < movie.rating < 5:
            unclipped += 1
            assert explanation.rating.other == pytest.approx(0, abs=1e-5)
    assert unclipped > 10


@pytest.mark.parametrize("n_ratings", [1, 5, 40])
@pytest.mark.parametrize("drift", [Drift(), Drift(0.3, 0.9)])
def test_shares_of_a_fold_in_are_linear_in_the_ratings(n_ratings: int, drift: Drift) -> None:
    """They sum to the prediction, with drift and implicit feedback; a rating that is 1 higher adds its slope."""
    rng = np.random.default_rng(2)
    k, n_items = 5, 60
    vectors, biases = rng.normal(0, 0.5, (n_items, k)).astype("f4"), rng.normal(0, 0.1, n_items).astype("f4")
    prior = Prior(rng.normal(0, 0.1, k + 1), np.eye(k + 1), 2.0, drift, rng.normal(0, 0.05, (n_items, k + 1)))
    fold_in = FoldIn(vectors, biases, 3.5, prior)
    items = rng.choice(n_items, n_ratings, replace=False)
    ratings = rng.integers(1, 6, n_ratings).astype("f4")
    targets = np.arange(n_items)

    def predict(ratings: np.ndarray) -> np.ndarray:
        vector, bias = fold_in.posterior_mean(items, ratings)
        predicted: np.ndarray = vectors @ vector + biases + np.float32(3.5 + bias)
        return predicted

    baseline, shares = fold_in.shares(fold_in.prepare_shares(items, ratings), targets)
    assert np.abs(baseline + shares.sum(axis=1) - predict(ratings)).max() < 2e-5
    higher = ratings + np.eye(n_ratings, dtype="f4")[0]
    change = fold_in.shares(fold_in.prepare_shares(items, higher), targets)[1][:, 0] - shares[:, 0]
    assert np.abs(predict(higher) - predict(ratings) - change).max() < 2e-5


def test_explain_list_without_a_history_tells_popularity_from_cohorts(catalog_engine: Engine) -> None:
    """The parts sum to the score; there are no reasons."""
    for cohorts in ((), [("gender:f", 1.0), ("genre:comedy", -1.0)]):
        result = catalog_engine.make_list(EMPTY, ListRequest(), ListContext(cohorts=cohorts))
        for movie, explanation in zip(result.movies, explain_list(catalog_engine, EMPTY, result, 3), strict=True):
            parts = explanation.score
            assert parts.popularity + parts.cohort == pytest.approx(movie.score, abs=FLOAT32)
            assert bool(parts.cohort) == bool(cohorts)
            assert explanation.because == ()
        expected = "cohort" if cohorts else "popularity"
        assert set(find_first_reasons(catalog_engine, EMPTY, result)) == {expected}


def test_find_first_reasons_names_the_movie_or_what_decided(catalog_engine: Engine) -> None:
    """The largest share, unless a pin, a quota or exploration put the movie there."""
    state = get_state(catalog_engine, 4)
    policy = Policy(pins=(Pin(make_movie_id(7), 3),), quotas=(Quota("country", ("fr",), 0.9),))
    result = catalog_engine.make_list(state, ListRequest(), ListContext(policy=policy, now=NOW))
    reasons = find_first_reasons(catalog_engine, state, result)
    assert reasons[2] == "pin"
    assert "quota" in reasons
    best = compute_shares(catalog_engine, state, result.rows).argmax(axis=1)
    names = catalog_engine.item_factors.movie_ids
    for position, reason in enumerate(reasons):
        assert reason in ("pin", "quota", names[state.items[best[position]]])
    random = catalog_engine.make_list(state, ListRequest(), ListContext(Exploration(1.0), ListRandom(5).random))
    drawn = find_first_reasons(catalog_engine, state, random)
    assert [reason == "exploration" for reason in drawn] == [movie.rank > 20 for movie in random.movies]
    assert "exploration" in drawn
