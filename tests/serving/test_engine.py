"""The engine: both heads on models whose answers are known."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.serving.models import MEAN, TRAINED_THROUGH, group_of, movie_id_of, two_tastes, written

from marquee.db.user_history import History, RatedMovie, WatchedMovie
from marquee.errors import ArtifactRefused
from marquee.registry.manifest import ResidualInterval
from marquee.registry.object_store.file_store import FileStore
from marquee.serving.engine import Engine, Tier
from marquee.serving.user_state import EMPTY, UserState, build_user_state


def did(
    ratings: list[tuple[int | str, int]] | None = None, watched: list[tuple[int | str, int]] | None = None
) -> History:
    """A history, newest first as the database gives it; a movie is named by its row, or is unknown."""

    def name(movie: int | str) -> str:
        return movie if isinstance(movie, str) else movie_id_of(movie)

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


def answer(
    engine: Engine, user_id: str, history: History | None = None, n: int = 20
) -> tuple[Tier, list[str]]:
    profile = build_user_state(engine.item_factors, engine.read_record(user_id), history)
    tier, movies = engine.recommend(profile, n)
    return tier, [movie.movie_id for movie in movies]


def test_a_known_user_gets_his_taste_best_first_seen_movies_left_out(engine: Engine) -> None:
    """User 1000 has seen movies 0 and 2 of group 0: the list begins at 4."""
    assert answer(engine, "1000", n=5) == (Tier.PERSONALISED, [movie_id_of(i) for i in (4, 6, 8, 10, 12)])
    assert answer(engine, "1001", n=3) == (Tier.PERSONALISED, [movie_id_of(i) for i in (5, 7, 9)])


def test_each_movie_carries_what_the_user_is_predicted_to_rate_it(engine: Engine) -> None:
    """One above the mean for the own group, one below it for the other."""
    _, movies = engine.recommend(build_user_state(engine.item_factors, engine.read_record("1000"), None), 60)
    assert {f.rating for f in movies if group_of(f.movie_id) == 0} == {MEAN + 1}
    assert {f.rating for f in movies if group_of(f.movie_id) == 1} == {MEAN - 1}


def test_nobody_we_know_gets_what_is_popular(engine: Engine) -> None:
    assert answer(engine, "77", n=3) == (Tier.POPULAR, [movie_id_of(i) for i in (0, 1, 2)])


def test_a_movie_watched_a_second_ago_counts_at_once(engine: Engine) -> None:
    """Without any rating, and for somebody the artifact has never heard of."""
    tier, movies = answer(engine, "77", did(watched=[(7, 90)]))
    assert tier == Tier.FOLDED_IN
    assert {group_of(movie) for movie in movies} == {1}
    assert movie_id_of(7) not in movies


def test_a_first_rating_personalises_both_heads(engine: Engine) -> None:
    profile = build_user_state(engine.item_factors, None, did([(3, 5)]))
    tier, movies = engine.recommend(profile, 60)
    assert tier == Tier.FOLDED_IN
    assert group_of(movies[0].movie_id) == 1
    rated = {group_of(f.movie_id): f.rating for f in movies}
    assert rated[1] is not None
    assert rated[0] is not None
    assert rated[1] > rated[0]


def test_a_fresh_rating_joins_those_that_the_artifact_knows(engine: Engine) -> None:
    """Three low ratings of his own group move the predictions of a stored user."""
    record = engine.read_record("1000")
    (before,) = engine.predict(build_user_state(engine.item_factors, record, None), np.array([20]))
    fresh = build_user_state(engine.item_factors, record, did([(4, 1), (6, 1), (8, 1)]))
    (after,) = engine.predict(fresh, np.array([20]))
    assert fresh.items.tolist() == [0, 2, 8, 6, 4]
    assert after < before - 1


def test_history_that_the_artifact_knows_already_is_no_news(engine: Engine) -> None:
    """The overlap of times between training and asking must not turn personalised into folded in."""
    known = did([(0, 4), (2, 4)], [(0, 100)])
    assert answer(engine, "1000", known) == answer(engine, "1000")


def test_a_changed_rating_is_news(engine: Engine) -> None:
    profile = build_user_state(engine.item_factors, engine.read_record("1000"), did([(0, 1), (0, 5)]))
    assert profile.has_new_items
    assert dict(zip(profile.items.tolist(), profile.ratings.tolist(), strict=True)) == {2: 4.0, 0: 1.0}


def test_watching_again_takes_no_rating_away(engine: Engine) -> None:
    profile = build_user_state(
        engine.item_factors, engine.read_record("1000"), did(watched=[(0, 100), (9, 5)])
    )
    assert dict(zip(profile.items.tolist(), profile.weights.tolist(), strict=True)) == {
        0: 1.0,
        2: 1.0,
        9: pytest.approx(0.1),
    }
    assert not profile.has_new_ratings


def test_movies_that_the_catalogue_does_not_know_are_passed_over(engine: Engine) -> None:
    assert answer(engine, "77", did([("nobody+knows+it+2031", 5)])) == answer(engine, "77")


def test_who_has_seen_nearly_everything_still_gets_twenty(engine: Engine) -> None:
    """57 of 60 movies seen, newest first: the three unseen ones, and then those seen longest ago."""
    _, movies = answer(engine, "77", did(watched=[(i, 100) for i in range(57)]))
    assert sorted(movies[:3]) == sorted(movie_id_of(i) for i in (57, 58, 59))
    assert movies[3:] == [movie_id_of(i) for i in range(56, 39, -1)]


histories = st.lists(st.tuples(st.integers(0, 70), st.integers(1, 5)), max_size=80, unique_by=lambda e: e[0])


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["1000", "1003", "5"]), histories, histories)
def test_always_twenty_distinct_known_movies_best_first(
    engine_of_tastes: Engine,
    user_id: str,
    rated: list[tuple[int | str, int]],
    watched: list[tuple[int | str, int]],
) -> None:
    """Whatever he did; rows from 60 on are movies that the catalogue does not know."""
    engine = engine_of_tastes
    profile = build_user_state(engine.item_factors, engine.read_record(user_id), did(rated, watched))
    _, movies = engine.recommend(profile, 20)
    ids = [movie.movie_id for movie in movies]
    seen = {movie_id_of(i) for i in profile.items.tolist()}
    unseen = [movie for movie in movies if movie.movie_id not in seen]
    assert len(set(ids)) == 20
    assert set(ids) <= set(engine.item_factors.movie_ids)
    assert movies[: len(unseen)] == unseen == sorted(unseen, key=lambda f: -f.score)
    assert len(unseen) == min(20, 60 - len(seen))
    assert all(1 <= (movie.rating or 0) <= 5 for movie in movies)


def test_predicted_ratings_stay_on_the_scale(store: FileStore) -> None:
    engine = Engine.load(store, written(store, two_tastes(mean=4.5)))
    assert max(f.rating or 0 for f in engine.list_popular(60)) <= 5
    record = build_user_state(engine.item_factors, engine.read_record("1000"), None)
    assert list(engine.predict(record, np.array([20, 21]))) == [5.0, 3.5]


def test_a_catalogue_of_fewer_movies_gives_them_all(store: FileStore) -> None:
    engine = Engine.load(store, written(store, two_tastes(n_items=7)))
    assert len(engine.list_popular(20)) == 7


def test_an_artifact_that_is_not_there_is_refused(store: FileStore) -> None:
    with pytest.raises(ArtifactRefused, match="there is no artifact nope"):
        Engine.load(store, "nope")


def test_a_prior_that_is_no_gaussian_is_refused(store: FileStore) -> None:
    """Users would be folded in to anything at all, or the solver would fail while they wait."""
    flat = replace(two_tastes(), prior_precision=np.zeros((3, 3), np.float32))
    with pytest.raises(ArtifactRefused, match=r"prior_precision of .* is not positive definite"):
        Engine.load(store, written(store, flat))


def test_a_user_is_read_once(engine: Engine) -> None:
    assert engine.get_cached_record("1000") == (False, None)
    record = engine.read_record("1000")
    assert engine.get_cached_record("1000") == (True, record)
    assert engine.read_record("9") is None
    assert engine.get_cached_record("9") == (True, None)


def test_the_band_is_that_of_what_is_known_of_the_user(engine: Engine) -> None:
    """The last one that the user's number of ratings reaches; movies that were only watched do not count."""
    prediction_intervals = tuple(ResidualInterval(known, -0.1 * known - 0.1, 0.2) for known in (0, 1, 3))
    manifest = msgspec.structs.replace(
        engine.item_factors.manifest, prediction_intervals=prediction_intervals
    )
    measured = Engine(msgspec.structs.replace(engine.item_factors, manifest=manifest), engine.users)
    for ratings, expected in (([], 0), ([np.nan], 0), ([5.0], 1), ([5.0, 1.0, np.nan], 1), ([1.0] * 9, 3)):
        values = np.array(ratings, np.float32)
        profile = UserState(np.arange(len(values), dtype=np.uint32), values, np.ones_like(values))
        band = measured.residual_interval(profile)
        assert band
        assert band.known == expected
    assert engine.residual_interval(EMPTY) is None, "an artifact that was not calibrated has none"
