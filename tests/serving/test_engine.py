"""Tests of the engine: both models on artifacts whose answers are known by construction."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.serving.models import MEAN, TRAINED_THROUGH, get_group, make_movie_id, store_model, two_group_model

from marquee.db.user_history import History, RatedMovie, WatchedMovie
from marquee.errors import ArtifactRefused
from marquee.registry.manifest import ResidualInterval
from marquee.registry.object_store.file_store import FileStore
from marquee.scoring.level_drift import NO_DRIFT, Drift
from marquee.serving.engine import Engine
from marquee.serving.scored_movie import Tier
from marquee.serving.user_state import EMPTY, UserState, build_user_state


def make_history(
    ratings: list[tuple[int | str, int]] | None = None, watched: list[tuple[int | str, int]] | None = None
) -> History:
    """Return a history, newest first as the database returns it; a movie is its row, or an unknown id."""

    def name(movie: int | str) -> str:
        return movie if isinstance(movie, str) else make_movie_id(movie)

    return History(
        tuple(
            RatedMovie(name(movie), rating, TRAINED_THROUGH + timedelta(hours=9 - n))
            for n, (movie, rating) in enumerate(ratings or [])
        ),
        tuple(
            WatchedMovie(name(movie), minute, TRAINED_THROUGH + timedelta(hours=8 - n))
            for n, (movie, minute) in enumerate(watched or [])
        ),
    )


def recommend_ids(engine: Engine, user_id: str, history: History | None = None, n: int = 20) -> tuple[Tier, list[str]]:
    """Return the tier and the movie ids for a user with a history."""
    state = build_user_state(engine.item_factors, engine.read_record(user_id), history)
    tier, movies = engine.recommend(state, n)
    return tier, [movie.movie_id for movie in movies]


def test_recommend_known_user_returns_unseen_movies_of_their_group(engine: Engine) -> None:
    """User 1000 has seen movies 0 and 2 of group 0: the list begins at 4."""
    assert recommend_ids(engine, "1000", n=5) == (
        Tier.PERSONALISED,
        [make_movie_id(i) for i in (4, 6, 8, 10, 12)],
    )
    assert recommend_ids(engine, "1001", n=3) == (Tier.PERSONALISED, [make_movie_id(i) for i in (5, 7, 9)])


def test_recommend_movies_carry_the_predicted_rating(engine: Engine) -> None:
    """One above the mean for the user's own group, one below it for the other."""
    _, movies = engine.recommend(build_user_state(engine.item_factors, engine.read_record("1000"), None), 60)
    assert {f.rating for f in movies if get_group(f.movie_id) == 0} == {MEAN + 1}
    assert {f.rating for f in movies if get_group(f.movie_id) == 1} == {MEAN - 1}


def test_recommend_unknown_user_returns_popular_movies(engine: Engine) -> None:
    """Without record and history the order is that of popularity."""
    assert recommend_ids(engine, "77", n=3) == (Tier.POPULAR, [make_movie_id(i) for i in (0, 1, 2)])


def test_recommend_watched_movie_counts_at_once(engine: Engine) -> None:
    """Without any rating, and for a user that the artifact lacks."""
    tier, movies = recommend_ids(engine, "77", make_history(watched=[(7, 90)]))
    assert tier == Tier.FOLDED_IN
    assert {get_group(movie) for movie in movies} == {1}
    assert make_movie_id(7) not in movies


def test_recommend_first_rating_personalises_both_models(engine: Engine) -> None:
    """The ranking and the predicted ratings follow one rating."""
    state = build_user_state(engine.item_factors, None, make_history([(3, 5)]))
    tier, movies = engine.recommend(state, 60)
    assert tier == Tier.FOLDED_IN
    assert get_group(movies[0].movie_id) == 1
    rated = {get_group(f.movie_id): f.rating for f in movies}
    assert rated[1] is not None
    assert rated[0] is not None
    assert rated[1] > rated[0]


def test_predict_new_ratings_are_added_to_the_record(engine: Engine) -> None:
    """Three low ratings of the own group move the predictions of a stored user."""
    record = engine.read_record("1000")
    (before,) = engine.predict(build_user_state(engine.item_factors, record, None), np.array([20]))
    fresh = build_user_state(engine.item_factors, record, make_history([(4, 1), (6, 1), (8, 1)]))
    (after,) = engine.predict(fresh, np.array([20]))
    assert fresh.items.tolist() == [0, 2, 8, 6, 4]
    assert after < before - 1


def test_predict_drift_of_the_artifact_follows_the_newest_ratings(store: FileStore) -> None:
    """The same ratings of a new user, oldest high or oldest low; without drift their order does not matter."""
    for drift, matters in ((NO_DRIFT, False), (Drift(0.3, 0.9), True)):
        engine = Engine.load(store, store_model(store, replace(two_group_model(), drift=drift)))
        newest_first = [(0, 1), (2, 1), (4, 5), (6, 5)]
        stricter, milder = (
            engine.predict(build_user_state(engine.item_factors, None, make_history(list(history))), [20])[0]
            for history in (newest_first, newest_first[::-1])
        )
        assert (stricter < milder - 0.05) is matters


def test_recommend_recorded_history_stays_personalised(engine: Engine) -> None:
    """The overlap of times between training and serving must not turn ``personalised`` into ``folded-in``."""
    known = make_history([(0, 4), (2, 4)], [(0, 100)])
    assert recommend_ids(engine, "1000", known) == recommend_ids(engine, "1000")


def test_user_state_changed_rating_is_new(engine: Engine) -> None:
    """The newest rating replaces the recorded one."""
    state = build_user_state(engine.item_factors, engine.read_record("1000"), make_history([(0, 1), (0, 5)]))
    assert state.has_new_items
    assert dict(zip(state.items.tolist(), state.ratings.tolist(), strict=True)) == {2: 4.0, 0: 1.0}


def test_user_state_watched_again_keeps_the_rating(engine: Engine) -> None:
    """Only a movie that the record lacks is added."""
    state = build_user_state(engine.item_factors, engine.read_record("1000"), make_history(watched=[(0, 100), (9, 5)]))
    assert dict(zip(state.items.tolist(), state.weights.tolist(), strict=True)) == {
        0: 1.0,
        2: 1.0,
        9: pytest.approx(0.1),
    }
    assert not state.has_new_ratings


def test_recommend_unknown_movie_in_history_is_ignored(engine: Engine) -> None:
    """The user is treated as one without a history."""
    assert recommend_ids(engine, "77", make_history([("unknown+movie+2031", 5)])) == recommend_ids(engine, "77")


def test_recommend_few_unseen_movies_fills_the_list_with_seen_ones(engine: Engine) -> None:
    """57 of 60 movies are seen, newest first: the three unseen ones come first, then those seen longest ago."""
    _, movies = recommend_ids(engine, "77", make_history(watched=[(i, 100) for i in range(57)]))
    assert sorted(movies[:3]) == sorted(make_movie_id(i) for i in (57, 58, 59))
    assert movies[3:] == [make_movie_id(i) for i in range(56, 39, -1)]


histories = st.lists(st.tuples(st.integers(0, 70), st.integers(1, 5)), max_size=80, unique_by=lambda e: e[0])


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["1000", "1003", "5"]), histories, histories)
def test_recommend_any_history_returns_twenty_distinct_movies_best_first(
    shared_engine: Engine,
    user_id: str,
    rated: list[tuple[int | str, int]],
    watched: list[tuple[int | str, int]],
) -> None:
    """For any history; rows from 60 on are movies that the catalog lacks."""
    engine = shared_engine
    state = build_user_state(engine.item_factors, engine.read_record(user_id), make_history(rated, watched))
    _, movies = engine.recommend(state, 20)
    ids = [movie.movie_id for movie in movies]
    seen = {make_movie_id(i) for i in state.items.tolist()}
    unseen = [movie for movie in movies if movie.movie_id not in seen]
    assert len(set(ids)) == 20
    assert set(ids) <= set(engine.item_factors.movie_ids)
    assert movies[: len(unseen)] == unseen == sorted(unseen, key=lambda f: -f.score)
    assert len(unseen) == min(20, 60 - len(seen))
    assert all(1 <= (movie.rating or 0) <= 5 for movie in movies)


def test_predict_result_is_clipped_to_the_scale(store: FileStore) -> None:
    """Predictions above the highest rating are the highest rating."""
    engine = Engine.load(store, store_model(store, two_group_model(mean=4.5)))
    assert max(f.rating or 0 for f in engine.recommend(EMPTY, 60)[1]) <= 5
    record = build_user_state(engine.item_factors, engine.read_record("1000"), None)
    assert list(engine.predict(record, np.array([20, 21]))) == [5.0, 3.5]


def test_recommend_small_catalog_returns_all_movies(store: FileStore) -> None:
    """Seven movies make a list of seven."""
    engine = Engine.load(store, store_model(store, two_group_model(n_items=7)))
    assert len(engine.recommend(EMPTY, 20)[1]) == 7


def test_load_missing_artifact_is_refused(store: FileStore) -> None:
    """The error names the version."""
    with pytest.raises(ArtifactRefused, match="there is no artifact nope"):
        Engine.load(store, "nope")


def test_load_singular_prior_is_refused(store: FileStore) -> None:
    """Fold-in would otherwise return arbitrary users, or fail during a request."""
    flat = replace(two_group_model(), prior_precision=np.zeros((3, 3), np.float32))
    with pytest.raises(ArtifactRefused, match=r"prior_precision of .* is not positive definite"):
        Engine.load(store, store_model(store, flat))


def test_read_record_is_cached(engine: Engine) -> None:
    """The absence of a record is cached too."""
    assert engine.get_cached_record("1000") == (False, None)
    record = engine.read_record("1000")
    assert engine.get_cached_record("1000") == (True, record)
    assert engine.read_record("9") is None
    assert engine.get_cached_record("9") == (True, None)


def test_residual_interval_depends_on_the_number_of_ratings(engine: Engine) -> None:
    """The last interval whose minimum the user's number of ratings reaches; movies that were only watched do
    not count.
    """
    prediction_intervals = tuple(ResidualInterval(known, -0.1 * known - 0.1, 0.2) for known in (0, 1, 3))
    manifest = msgspec.structs.replace(engine.item_factors.manifest, prediction_intervals=prediction_intervals)
    measured = Engine(msgspec.structs.replace(engine.item_factors, manifest=manifest), engine.users)
    for ratings, expected in (([], 0), ([np.nan], 0), ([5.0], 1), ([5.0, 1.0, np.nan], 1), ([1.0] * 9, 3)):
        values = np.array(ratings, np.float32)
        state = UserState(np.arange(len(values), dtype=np.uint32), values, np.ones_like(values))
        band = measured.residual_interval(state)
        assert band
        assert band.known == expected
    assert engine.residual_interval(EMPTY) is None, "an artifact that was not calibrated has none"
