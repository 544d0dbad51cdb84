"""New movies in lists: within the budget of the random slots, with true propensities, and never without a budget."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from tests.serving.models import release_model, two_group_model

from marquee.registry.object_store.file_store import FileStore
from marquee.serving.engine import Engine
from marquee.serving.exploration import Exploration
from marquee.serving.list_builder import ListContext
from marquee.serving.list_request import PLAIN
from marquee.serving.new_movies import find_new
from marquee.serving.user_state import build_user_state

N_NEW = 5


@pytest.fixture
def engine(store: FileStore) -> Engine:
    """An engine whose five movies with the worst scores for the user are new."""
    model = two_group_model()
    plain = Engine.load(store, release_model(store, model))
    state = build_user_state(plain.item_factors, plain.read_record("1000"), None)
    worst = [movie.movie_id for movie in plain.recommend(state, 50)[1]][-N_NEW:]
    popularity = model.popularity.copy()
    popularity[[list(model.movie_ids).index(movie) for movie in worst]] = 0
    return Engine.load(store, release_model(store, replace(model, popularity=popularity)))


def make_lists(engine: Engine, exploration: Exploration, count: int) -> list[list[tuple[str, float]]]:
    random = Random(1).random
    state = build_user_state(engine.item_factors, engine.read_record("1000"), None)
    lists = [engine.make_list(state, PLAIN, ListContext(exploration, random)).movies for _ in range(count)]
    return [[(movie.movie_id, movie.propensity) for movie in movies] for movies in lists]


def test_make_list_new_movie_is_shown_within_the_budget_as_logged(engine: Engine) -> None:
    """A third of the lists shows one new movie, in a random slot; frequencies equal propensities."""
    assert engine.new_movies is not None
    new = {engine.item_factors.movie_ids[row] for row in np.flatnonzero(engine.new_movies)}
    lists = make_lists(engine, Exploration(0.0, 3, 9, 1), 2000)
    shown: Counter[int] = Counter()
    for movies in lists:
        found = [at for at, (movie, _) in enumerate(movies) if movie in new]
        assert len(found) <= 1
        shown.update(found)
        assert all(movies[at][1] == pytest.approx(1 / 9) for at in found)
    assert set(shown) == {17, 18, 19}
    for count in shown.values():
        assert abs(count / 2000 - 1 / 9) < 5 * (1 / 9 * 8 / 9 / 2000) ** 0.5


def test_make_list_without_a_budget_shows_no_new_movie(engine: Engine) -> None:
    """With 0 new candidates, or without random slots, the lists are those of the scores."""
    assert engine.new_movies is not None
    new = {engine.item_factors.movie_ids[row] for row in np.flatnonzero(engine.new_movies)}
    for exploration in (Exploration(0.0, 3, 9, 0), Exploration()):
        assert not any(movie in new for movies in make_lists(engine, exploration, 50) for movie, _ in movies)


def test_find_new_needs_movies_with_and_without_interactions() -> None:
    """None if all movies are known, and None if no popularity is known at all."""
    assert find_new(np.array([0.5, 0.5], np.float32)) is None
    assert find_new(np.zeros(2, np.float32)) is None
    found = find_new(np.array([0.0, 1.0], np.float32))
    assert found is not None
    assert found.tolist() == [True, False]


def test_exploration_scale_keeps_new_within_the_candidates() -> None:
    """A shorter list has fewer candidates, and no more new ones than that; a negative number is refused."""
    assert Exploration(0.0, 4, 8, 8).scale(10) == Exploration(0.0, 2, 4, 4)
    with pytest.raises(ValueError, match="invalid exploration"):
        Exploration(0.0, 3, 9, -1)
