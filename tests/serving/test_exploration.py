"""Tests of exploration: logged propensities are true, and estimates that use them are unbiased."""

from __future__ import annotations

from collections import Counter
from random import Random

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marquee.registry.policy import NO_POLICY, Policy
from marquee.serving.candidates import Candidates
from marquee.serving.engine import Engine
from marquee.serving.exploration import DEFAULT_EXPLORATION, NO_EXPLORATION, Exploration
from marquee.serving.list_builder import ListContext
from marquee.serving.list_request import PLAIN
from marquee.serving.policy_rules import choose_exploration
from marquee.serving.user_state import build_user_state

N_ITEMS, N = 12, 5
SEEN = {2, 7}
RANKED = [9, 4, 0, 11, 1, 3, 10, 5, 6, 8]  # All unseen movies, best first.
CANDIDATES = Candidates(N_ITEMS, np.array(sorted(SEEN)))


def make_exploration(epsilon: float = 0.3, slots: int = 2, candidates: int = 4) -> Exploration:
    return Exploration(epsilon, slots, candidates)


def test_choose_frequencies_equal_the_propensities() -> None:
    """In 60,000 lists each (position, movie) occurs as often as its logged propensity says, within five
    standard errors.
    """
    draws, exploration, random = 60_000, make_exploration(), Random(1).random
    counts: Counter[tuple[int, int]] = Counter()
    logged: dict[tuple[int, int], float] = {}
    for _ in range(draws):
        rows, propensities, _ = exploration.choose(RANKED, N, CANDIDATES, random)
        for position, (row, propensity) in enumerate(zip(rows, propensities, strict=True)):
            counts[position, row] += 1
            assert logged.setdefault((position, row), propensity) == propensity
    assert len(logged) == N * len(RANKED)  # A uniform list may show any movie in any position.
    for position in range(N):
        assert sum(p for (at, _), p in logged.items() if at == position) == pytest.approx(1)
    for cell, propensity in logged.items():
        error = (propensity * (1 - propensity) / draws) ** 0.5
        assert abs(counts[cell] / draws - propensity) < 5 * error, cell


def test_choose_inverse_propensity_estimate_is_unbiased() -> None:
    """Each movie has a known reward in each position.

    From 40,000 explored lists the value of another ranker's list is estimated within five standard errors.
    """
    reward = {(position, movie): (movie + 1) / (position + 1) for position in range(N) for movie in range(N_ITEMS)}
    other = [0, 9, 3, 10, 11]
    true_value = sum(reward[position, movie] for position, movie in enumerate(other))
    exploration, estimates, random = make_exploration(epsilon=0.5), [], Random(1).random
    for _ in range(40_000):
        rows, propensities, _ = exploration.choose(RANKED, N, CANDIDATES, random)
        shown = enumerate(zip(rows, propensities, strict=True))
        estimates.append(sum(reward[at, f] / p for at, (f, p) in shown if other[at] == f))
    mean = sum(estimates) / len(estimates)
    variance = sum((e - mean) ** 2 for e in estimates) / len(estimates)
    assert abs(mean - true_value) < 5 * (variance / len(estimates)) ** 0.5


@given(st.floats(0, 1), st.integers(0, 8), st.integers(0, 8), st.integers(1, 15), st.sets(st.integers(0, 11)))
def test_choose_any_setting_returns_distinct_unseen_movies_first(
    epsilon: float, slots: int, extra: int, n: int, seen: set[int]
) -> None:
    """For any setting and any number of unseen movies: each movie once, unseen movies first, propensities
    above 0 and up to 1.
    """
    exploration = Exploration(epsilon, slots, slots + extra)
    unseen = [row for row in range(N_ITEMS) if row not in seen]
    ranked = (unseen + sorted(seen))[: n + exploration.extra_candidates]
    candidates = Candidates(N_ITEMS, np.array(sorted(seen), np.intp))
    rows, propensities, uniform = exploration.choose(ranked, n, candidates, Random(3).random)
    assert len(rows) == len(set(rows)) == len(propensities) == min(n, N_ITEMS)
    assert len([row for row in rows if row in seen]) == max(0, min(n, N_ITEMS) - len(unseen))
    assert all(0 < p <= 1 + 1e-9 for p in propensities)
    assert not uniform or len(unseen) >= min(n, N_ITEMS)


def test_choose_without_exploration_is_the_ranking() -> None:
    """All propensities are 1."""
    assert NO_EXPLORATION.choose(RANKED, N, CANDIDATES, Random(1).random) == (RANKED[:N], [1.0] * N, False)
    assert NO_EXPLORATION.extra_candidates == 0


def test_choose_too_few_unseen_movies_is_the_ranking() -> None:
    """The movies seen longest ago fill the list; nothing is random, and the propensities say so."""
    ranked = [3, 0, 1, 2]
    candidates = Candidates(4, np.array([0, 1, 2]))
    chosen = make_exploration(epsilon=1.0).choose(ranked, 3, candidates, Random(1).random)
    assert chosen == ([3, 0, 1], [1.0] * 3, False)


def test_choose_epsilon_zero_randomizes_only_the_slots() -> None:
    """The first positions are fixed, the slots are drawn from the candidates."""
    random = Random(1).random
    for _ in range(200):
        rows, propensities, _ = make_exploration(epsilon=0.0).choose(RANKED, N, CANDIDATES, random)
        assert rows[:3] == RANKED[:3]
        assert set(rows[3:]) <= set(RANKED[3:7])
        assert propensities == [1, 1, 1, 0.25, 0.25]


@pytest.mark.parametrize(("epsilon", "slots", "candidates"), [(-0.1, 0, 0), (1.1, 0, 0), (0, 3, 2), (0, -1, 0)])
def test_exploration_invalid_settings_raise(epsilon: float, slots: int, candidates: int) -> None:
    """Epsilon outside 0 to 1, more slots than candidates, or a negative number."""
    with pytest.raises(ValueError, match="invalid exploration"):
        Exploration(epsilon, slots, candidates)


def test_explore_repeated_history_item_counts_once(engine: Engine) -> None:
    """The propensity is that among the distinct unseen movies."""
    state = build_user_state(engine.item_factors, engine.read_record("1000"), None)
    doubled = msgspec.structs.replace(
        state, **{name: np.tile(getattr(state, name), 2) for name in ("items", "ratings", "weights")}
    )
    for movie in engine.make_list(doubled, PLAIN, ListContext(Exploration(epsilon=1.0))).movies:
        assert movie.propensity == pytest.approx(1 / 58)


def test_explore_uniform_list_has_the_movies_own_scores_and_ratings(engine: Engine) -> None:
    """A movie that was drawn at random carries its own score and predicted rating."""
    state = build_user_state(engine.item_factors, engine.read_record("1000"), None)
    everything = {f.movie_id: f for f in engine.recommend(state, 60)[1]}
    result = engine.make_list(state, PLAIN, ListContext(Exploration(epsilon=1.0)))
    movies = result.movies
    assert result.explored
    assert len({f.movie_id for f in movies}) == 20
    assert not {"film+0+1990", "film+2+1990"} & {f.movie_id for f in movies}
    for movie in movies:
        own = everything[movie.movie_id]
        assert (movie.score, movie.rating) == (own.score, own.rating)
        assert movie.propensity == pytest.approx(1 / 58)


@pytest.mark.parametrize(("n", "slots"), [(20, 1), (19, 1), (10, 1), (9, 0), (100, 1)])
def test_scale_single_slot_stays_in_lists_of_half_the_length(n: int, slots: int) -> None:
    """The default has one slot, which a share would round to none."""
    scaled = Exploration(0.001, 1, 40).scale(n)
    assert (scaled.slots, scaled.candidates) == (slots, 40 * slots)


def test_choose_exploration_of_a_policy_replaces_what_it_sets() -> None:
    """Each field of the policy holds, 0 included, and others keep the default; without slots none are candidates."""
    assert choose_exploration(NO_POLICY, DEFAULT_EXPLORATION) is DEFAULT_EXPLORATION
    assert choose_exploration(Policy(explore_new=0), DEFAULT_EXPLORATION) == Exploration(0.001, 1, 40, 0)
    assert choose_exploration(Policy(explore_slots=50), DEFAULT_EXPLORATION) == Exploration(0.001, 50, 50, 4)
    still = Policy(explore_epsilon=0.0, explore_slots=0)
    assert choose_exploration(still, DEFAULT_EXPLORATION) == Exploration()
