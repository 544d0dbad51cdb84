"""Tests of off-policy estimates: exact expectation over all lists, intervals, support and refusal."""

from __future__ import annotations

from itertools import permutations
from random import Random

import numpy as np
import pytest

from marquee.experiments.off_policy import (
    LoggedLists,
    estimate_target,
    expected_examination,
    weigh_movies,
)
from marquee.experiments.ratio_estimates import Floats
from marquee.serving.candidates import Candidates
from marquee.serving.exploration import Exploration

N = 4
MOVIES, TAIL, POOL, SHARE = 7, 2, 4, 0.3
TASTES = (0.6, 1.4)
EXAMINATION: Floats = np.arange(1, N + 1, dtype=float) ** -0.8
SUITS = np.random.default_rng(1).uniform(0.1, 0.9, MOVIES)  # By rank of the logging ranker.


def make_lists(rank: np.ndarray, other: list[int], outcome: Floats, user: np.ndarray | None = None) -> LoggedLists:
    """Return lists of movies by ``rank`` [lists, N]; ``other`` holds the ranks of X's movies, best first."""
    n_lists = len(rank)
    position = {movie: k for k, movie in enumerate(other, 1)}
    target = np.array([[position.get(movie, 0) for movie in one] for one in rank.tolist()])
    return LoggedLists(
        user=np.arange(n_lists) if user is None else user,
        rank=rank,
        outcome=outcome,
        eligible=np.full(n_lists, MOVIES),
        share=np.full(n_lists, SHARE),
        tail=np.full(n_lists, TAIL),
        pool=np.full(n_lists, POOL),
        target=target,
        support=np.tile(other, (n_lists, 1)),
    )


def enumerate_lists() -> tuple[np.ndarray, Floats]:
    """Return every list that exploration can show, with its probability."""
    uniform = list(permutations(range(1, MOVIES + 1), N))
    tails = list(permutations(range(N - TAIL + 1, N - TAIL + POOL + 1), TAIL))
    ranked = [(*range(1, N - TAIL + 1), *tail) for tail in tails]
    weights = [SHARE / len(uniform)] * len(uniform) + [(1 - SHARE) / len(ranked)] * len(ranked)
    return np.array(uniform + ranked), np.array(weights)


@pytest.mark.parametrize("other", [[1, 2, 3, 4], [2, 1, 6, 5], [6, 5, 4, 3]])
def test_weigh_movies_over_all_lists_gives_the_value_of_the_other_ranker(other: list[int]) -> None:
    """The expectation is exact: every list with its probability, every movie within the support."""
    ranks, probability = enumerate_lists()
    examined = EXAMINATION * SUITS[ranks - 1]
    lists = make_lists(ranks, other, examined)
    value = probability @ (weigh_movies(lists, EXAMINATION) * examined).sum(1)
    assert value == pytest.approx(EXAMINATION @ SUITS[np.array(other) - 1])


def test_expected_examination_over_all_lists_is_the_mean_of_the_positions() -> None:
    """The denominator of a movie is its examination averaged over every list, uniform ones included."""
    ranks, probability = enumerate_lists()
    stated = expected_examination(make_lists(ranks, [1, 2, 3, 4], np.ones(ranks.shape)), EXAMINATION)
    for movie in range(1, MOVIES + 1):
        shown = ranks == movie
        assert stated[shown] == pytest.approx(float(probability @ (shown * EXAMINATION).sum(1)))


def draw_lists(rng: np.random.Generator, other: list[int], n_lists: int, users: int = 500) -> LoggedLists:
    """Return drawn lists of users who differ in activity and in taste."""
    ranks, probability = enumerate_lists()
    rank = ranks[rng.choice(len(ranks), n_lists, p=probability)]
    user = rng.choice(users, n_lists, p=rng.dirichlet(np.full(users, 2.0)))
    taste = rng.uniform(*TASTES, users)[user, None]
    outcome = rng.random(rank.shape) < EXAMINATION * np.minimum(SUITS[rank - 1] * taste, 1)
    return make_lists(rank, other, outcome.astype(float), user)


def test_estimate_target_covers_the_truth_at_every_look() -> None:
    """40 runs of four looks: the sequence misses in one in twenty at most, and is narrow."""
    rng, other, missed = np.random.default_rng(2), [2, 1, 6, 5], 0
    tastes = np.linspace(*TASTES, 1001)[:, None]
    truth = float(EXAMINATION @ np.minimum(SUITS[np.array(other) - 1] * tastes, 1).mean(0))
    for _ in range(40):
        lists = draw_lists(rng, other, 8000)
        looks = [estimate_target(lists.take_first(size), EXAMINATION) for size in (1000, 2000, 4000, 8000)]
        missed += any(not look.low <= truth <= look.high for look in looks)
        assert abs(looks[-1].value - truth) < 0.1 * truth
        assert looks[-1].high - looks[-1].low < 0.3 * truth
        assert abs(looks[-1].balance - 1) < 5 * looks[-1].balance_error
        assert not looks[-1].refusal
    assert missed <= 2


def test_estimate_target_of_the_logging_ranker_agrees_with_what_was_seen() -> None:
    """Its own lists without chance differ from the observed rate by the effect of chance alone."""
    rng = np.random.default_rng(3)
    lists = draw_lists(rng, [1, 2, 3, 4], 20_000)._replace(share=np.full(20_000, SHARE))
    found = estimate_target(lists, EXAMINATION)
    ranks, probability = enumerate_lists()
    plain = float(EXAMINATION @ SUITS[:N])
    with_chance = float(probability @ (EXAMINATION * SUITS[ranks - 1]).sum(1))
    assert found.value / found.observed == pytest.approx(plain / with_chance, abs=0.03)
    assert found.observed == pytest.approx(lists.outcome.sum() / len(lists.user))
    assert found.effective > 10_000
    assert found.largest < 10


def test_estimate_target_unsure_curve_widens_the_interval() -> None:
    """The error of the fitted examination adds to that of the outcomes; the value stays."""
    lists = draw_lists(np.random.default_rng(6), [3, 4, 1, 2], 4000)
    sure = estimate_target(lists, EXAMINATION)
    unsure = estimate_target(lists, EXAMINATION, [EXAMINATION**1.3])
    assert unsure.value == sure.value
    assert unsure.high - unsure.low > sure.high - sure.low
    assert unsure.error > sure.error


def test_estimate_target_outside_the_support_refuses() -> None:
    """Rank 7 is shown by uniform lists alone: a quarter of the examination of X is unknown."""
    found = estimate_target(draw_lists(np.random.default_rng(4), [1, 7, 2, 3], 2000), EXAMINATION)
    assert found.support == pytest.approx(1 - EXAMINATION[1] / EXAMINATION.sum())
    assert "run an interleaving" in found.refusal
    assert found.high > found.value > found.low


def test_estimate_target_of_few_users_refuses() -> None:
    """49 users have no interval."""
    rng = np.random.default_rng(5)
    found = estimate_target(draw_lists(rng, [1, 2, 3, 4], 1000, users=49), EXAMINATION)
    assert "50 users" in found.refusal


def test_estimate_target_without_exploration_supports_the_same_movies_only() -> None:
    """A policy without chance still estimates a ranker that orders the same movies otherwise."""
    rank = np.tile([1, 2, 3, 4], (300, 1))
    plain = make_lists(rank, [2, 1, 3, 4], np.tile(EXAMINATION * SUITS[:N], (300, 1)))
    plain = plain._replace(share=np.zeros(300), tail=np.zeros(300, int), pool=np.zeros(300, int))
    found = estimate_target(plain._replace(outcome=plain.outcome * np.arange(300)[:, None] / 149.5), EXAMINATION)
    assert found.value == pytest.approx(float(EXAMINATION @ SUITS[[1, 0, 2, 3]]))
    refused = estimate_target(plain._replace(support=np.tile([5, 1, 3, 4], (300, 1))), EXAMINATION)
    assert refused.refusal


@pytest.mark.parametrize("exploration", [Exploration(0.2, 2, 5), Exploration(0.001, 1, 6), Exploration(0.1, 0, 0)])
def test_expected_examination_agrees_with_the_propensities_of_serving(exploration: Exploration) -> None:
    """For one examined position, it is the probability that serving logs for the movie there, in every list."""
    random, n = Random(7).random, 5
    unseen = np.arange(2, 14)
    candidates = Candidates(14, np.array([0, 1]))
    ranking = unseen[::-1].tolist()
    for _ in range(300):
        rows, propensities, _ = exploration.choose(ranking[: n + exploration.extra_candidates], n, candidates, random)
        lists = LoggedLists(
            user=np.zeros(1, int),
            rank=np.array([[ranking.index(row) + 1 for row in rows]]),
            outcome=np.zeros((1, n)),
            eligible=np.array([len(unseen)]),
            share=np.array([exploration.epsilon]),
            tail=np.array([exploration.slots]),
            pool=np.array([exploration.candidates]),
            target=np.zeros((1, n), int),
            support=np.ones((1, n), int),
        )
        for position, propensity in enumerate(propensities):
            stated = expected_examination(lists, np.eye(n)[position])
            assert stated[0, position] == pytest.approx(propensity)
