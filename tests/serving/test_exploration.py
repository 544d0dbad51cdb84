"""Exploration: what is logged is what happens, and an estimate that weighs by it is right."""

from __future__ import annotations

from collections import Counter
from random import Random

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marquee.serving.engine import Engine
from marquee.serving.exploration import NO_EXPLORATION, Exploration
from marquee.serving.user_state import build_user_state

N_ITEMS, N = 12, 5
SEEN = {2, 7}
RANKED = [9, 4, 0, 11, 1, 3, 10, 5, 6, 8]  # All unseen movies, best first.


def policy(fraction: float = 0.3, tail: int = 2, pool: int = 4, seed: int = 1) -> Exploration:
    return Exploration(fraction, tail, pool, Random(seed))


def test_frequencies_are_the_logged_propensities() -> None:
    """Over 60,000 lists each (place, movie) comes up as often as its logged probability says: within five
    standard errors, for all that can come up at all."""
    draws, made = 60_000, policy()
    counts: Counter[tuple[int, int]] = Counter()
    logged: dict[tuple[int, int], float] = {}
    for _ in range(draws):
        rows, propensities, _ = made.choose(RANKED, N, SEEN, N_ITEMS)
        for place, (row, propensity) in enumerate(zip(rows, propensities, strict=True)):
            counts[place, row] += 1
            assert logged.setdefault((place, row), propensity) == propensity
    assert len(logged) == N * len(RANKED)  # The uniform share reaches every movie in every place.
    for place in range(N):
        assert sum(p for (at, _), p in logged.items() if at == place) == pytest.approx(1)
    for cell, propensity in logged.items():
        error = (propensity * (1 - propensity) / draws) ** 0.5
        assert abs(counts[cell] / draws - propensity) < 5 * error, cell


def test_an_inverse_propensity_estimate_of_another_ranking_is_unbiased() -> None:
    """A world where each movie earns a known sum in each place; another ranker's list is worth a known
    sum, and 40,000 explored lists tell it within five standard errors."""
    reward = {(place, movie): (movie + 1) / (place + 1) for place in range(N) for movie in range(N_ITEMS)}
    other = [0, 9, 3, 10, 11]
    truth = sum(reward[place, movie] for place, movie in enumerate(other))
    made, estimates = policy(fraction=0.5), []
    for _ in range(40_000):
        rows, propensities, _ = made.choose(RANKED, N, SEEN, N_ITEMS)
        shown = enumerate(zip(rows, propensities, strict=True))
        estimates.append(sum(reward[at, f] / p for at, (f, p) in shown if other[at] == f))
    mean = sum(estimates) / len(estimates)
    variance = sum((e - mean) ** 2 for e in estimates) / len(estimates)
    assert abs(mean - truth) < 5 * (variance / len(estimates)) ** 0.5


@given(st.floats(0, 1), st.integers(0, 8), st.integers(0, 8), st.integers(1, 15), st.sets(st.integers(0, 11)))
def test_always_distinct_unseen_movies_with_a_probability(
    fraction: float, tail: int, longer: int, n: int, seen: set[int]
) -> None:
    """Whatever is set and however little is left to see: unseen movies first, each movie once."""
    made = Exploration(fraction, tail, tail + longer, Random(3))
    unseen = [row for row in range(N_ITEMS) if row not in seen]
    ranked = (unseen + sorted(seen))[: n + made.extra_candidates]
    rows, propensities, uniform = made.choose(ranked, n, seen, N_ITEMS)
    assert len(rows) == len(set(rows)) == len(propensities) == min(n, N_ITEMS)
    assert len([row for row in rows if row in seen]) == max(0, min(n, N_ITEMS) - len(unseen))
    assert all(0 < p <= 1 + 1e-9 for p in propensities)
    assert not uniform or len(unseen) >= min(n, N_ITEMS)


def test_without_exploration_all_is_certain() -> None:
    assert NO_EXPLORATION.choose(RANKED, N, SEEN, N_ITEMS) == (RANKED[:N], [1.0] * N, False)
    assert NO_EXPLORATION.extra_candidates == 0


def test_who_has_nothing_unseen_left_gets_the_ranking() -> None:
    """The movies seen longest ago fill his list; nothing is left to chance, and the log says so."""
    ranked = [3, 0, 1, 2]
    assert policy(fraction=1.0).choose(ranked, 3, {0, 1, 2}, 4) == ([3, 0, 1], [1.0] * 3, False)


def test_only_the_tail_moves_where_the_uniform_share_is_nought() -> None:
    for _ in range(200):
        rows, propensities, _ = policy(fraction=0.0).choose(RANKED, N, SEEN, N_ITEMS)
        assert rows[:3] == RANKED[:3]
        assert set(rows[3:]) <= set(RANKED[3:7])
        assert propensities == [1, 1, 1, 0.25, 0.25]


@pytest.mark.parametrize(("fraction", "tail", "pool"), [(-0.1, 0, 0), (1.1, 0, 0), (0, 3, 2), (0, -1, 0)])
def test_settings_that_make_no_sense_are_refused(fraction: float, tail: int, pool: int) -> None:
    with pytest.raises(ValueError, match="invalid exploration"):
        Exploration(fraction, tail, pool)


def test_a_movie_that_is_twice_in_a_history_counts_once(engine: Engine) -> None:
    """Its probability is that among the movies which he has not seen, however often he has seen the others."""
    profile = build_user_state(engine.item_factors, engine.read_record("1000"), None)
    doubled = msgspec.structs.replace(
        profile, **{name: np.tile(getattr(profile, name), 2) for name in ("items", "ratings", "weights")}
    )
    for movie in engine.explore(doubled, 20, Exploration(epsilon=1.0))[1]:
        assert movie.propensity == pytest.approx(1 / 58)


def test_the_engine_shows_what_was_drawn_with_its_own_score_and_rating(engine: Engine) -> None:
    """A movie that came by chance carries the score and the predicted rating that are its own."""
    profile = build_user_state(engine.item_factors, engine.read_record("1000"), None)
    everything = {f.movie_id: f for f in engine.recommend(profile, 60)[1]}
    _, movies, uniform = engine.explore(profile, 20, Exploration(epsilon=1.0))
    assert uniform
    assert len({f.movie_id for f in movies}) == 20
    assert not {"film+0+1990", "film+2+1990"} & {f.movie_id for f in movies}
    for movie in movies:
        own = everything[movie.movie_id]
        assert (movie.score, movie.rating) == (own.score, own.rating)
        assert movie.propensity == pytest.approx(1 / 58)
