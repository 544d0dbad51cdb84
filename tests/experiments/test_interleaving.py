"""Tests of team draft: fair teams, whole lists, and a comparison with the right sign."""

from __future__ import annotations

from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from marquee.experiments.interleaving import CONTROL, TREATMENT, draft_teams
from marquee.experiments.ratio_estimates import ratio, sum_users
from marquee.experiments.sequences import two_sided_radius, z_score

RANKINGS = st.lists(st.integers(0, 30), unique=True, max_size=25)


@given(RANKINGS, RANKINGS, st.integers(0, 25), st.integers())
def test_draft_teams_any_rankings_fills_the_list_with_fair_teams(a: list[int], b: list[int], n: int, seed: int) -> None:
    """No movie twice, each from its team's ranking at its best rank left, teams equal until a ranking ends."""
    drafted = draft_teams(a, b, n, Random(seed).random)
    movies = [movie for movie, _ in drafted]
    assert len(set(movies)) == len(movies) == min(n, len(set(a) | set(b)))
    for k, (movie, team) in enumerate(drafted):
        left = [one for one in (a, b)[team] if one not in movies[:k]]
        assert movie == left[0]
        others = [one for one in (b, a)[team] if one not in movies[:k]]
        teams = [one for _, one in drafted[: k + 1]]
        if others:
            assert teams.count(team) - teams.count(1 - team) <= 1


def test_draft_teams_same_random_numbers_gives_the_same_list() -> None:
    """A list drawn from the recommendation's id can be drawn again."""
    a, b = list(range(30)), list(range(29, -1, -1))
    assert draft_teams(a, b, 20, Random("id").random) == draft_teams(a, b, 20, Random("id").random)


def test_draft_teams_equal_rankings_show_the_ranking_and_favor_neither_team() -> None:
    """An A/A: every position is as often of one team as of the other."""
    random, ranking = Random(1), list(range(10))
    lists = [draft_teams(ranking, ranking, 10, random.random) for _ in range(2000)]
    assert all([movie for movie, _ in one] == ranking for one in lists)
    shares = np.array([[team for _, team in one] for one in lists]).mean(0)
    assert np.abs(shares - 0.5).max() < 0.05
    assert (CONTROL, TREATMENT) == (0, 1)


def test_draft_teams_better_ranking_is_preferred_within_few_lists() -> None:
    """Users begin what suits them; the better order of the same movies wins, and equal ones do not."""
    rng, random = np.random.default_rng(2), Random(2)
    examination = np.arange(1, 21) ** -0.7
    for noise, preferred in ((1.5, True), (0.3, False)):
        y = np.zeros(1500)
        for user in range(len(y)):
            taste = rng.normal(-1.5, 1, 200)
            control, treatment = (np.argsort(-(taste + rng.normal(0, s, 200)))[:20] for s in (noise, 0.3))
            drafted = draft_teams(control.tolist(), treatment.tolist(), 20, random.random)
            begun = rng.random(20) < examination / (1 + np.exp(-taste[[movie for movie, _ in drafted]]))
            y[user] = sum(1 if team == TREATMENT else -1 for (_, team), one in zip(drafted, begun, strict=True) if one)
        estimate = ratio(sum_users(y, np.ones(len(y))))
        radius = two_sided_radius(estimate.information, 0.3)
        assert (float(estimate.value) > radius) == preferred
        assert float(z_score(estimate)) > -3
