"""The shrinkage of cohort preferences follows what new users of the past cuts liked."""

from __future__ import annotations

import numpy as np
from tests.support.synthetic_data import SECOND, dataset, frame
from tests.training.runs import PARAMS

from marquee.data.dataset import Dataset
from marquee.data.side_information import SideInformation
from marquee.models.cohort_preferences import PRIOR_STRENGTH
from marquee.training.tuning import HALF_LIFE, PRIOR, TuningChoice
from marquee.training.tuning_cohorts import STRENGTH, choose_cohort_strength

CHOICE = TuningChoice(
    configured={HALF_LIFE: 30.0, PRIOR: 100.0},
    start={HALF_LIFE: 30.0, PRIOR: 100.0},
    chosen={HALF_LIFE: 30.0, PRIOR: 100.0},
)


def arriving_users(n_users: int = 400) -> Dataset:
    """Return ratings of users who arrive one after the other, and like ten of the forty movies of their kind.

    A quarter of them is of the kind whose movies are less popular.
    """
    rng = np.random.default_rng(0)
    rows = [
        (f"u{user:04}", f"k{int(user % 4 == 0)}+{item:03}", 5.0, (user * 10 + k) * SECOND)
        for user in range(n_users)
        for k, item in enumerate(rng.choice(40, 10, replace=False))
    ]
    return dataset(frame(*rows))


def side_information(data: Dataset, *, informative: bool) -> SideInformation:
    """Return a gender of each user: that of their kind, or a random one."""
    rng = np.random.default_rng(1)
    kinds = [int(int(user_id[1:]) % 4 == 0) if informative else int(rng.integers(2)) for user_id in data.user_ids]
    users = {user_id: {"gender": "FM"[kind]} for user_id, kind in zip(data.user_ids, kinds, strict=True)}
    return SideInformation(users=users, movies={})


def choose(data: Dataset, known: SideInformation, previous: TuningChoice | None = None) -> TuningChoice:
    return choose_cohort_strength(data, known, CHOICE, PARAMS.tuning, 0.1, 1, previous or TuningChoice())


def test_choose_cohort_strength_informative_cohorts_are_shrunk_less() -> None:
    """If the gender tells what a new user likes, the prior is weaker than configured and the lists are better."""
    data = arriving_users()
    choice = choose(data, side_information(data, informative=True))
    assert choice.chosen[STRENGTH] < PRIOR_STRENGTH
    assert choice.start[STRENGTH] == choice.configured[STRENGTH] == PRIOR_STRENGTH
    assert choice.ndcg["cohorts"] > 1.1 * choice.ndcg["popularity of new users"]
    assert choice.chosen[HALF_LIFE] == 30.0


def test_choose_cohort_strength_random_cohorts_are_not_worse_than_popularity() -> None:
    """A gender that says nothing wins next to nothing, and costs nothing on the cuts."""
    data = arriving_users()
    ndcg = choose(data, side_information(data, informative=False)).ndcg
    assert 0.99 * ndcg["popularity of new users"] < ndcg["cohorts"] < 1.1 * ndcg["popularity of new users"]


def test_choose_cohort_strength_starts_from_the_previous_one() -> None:
    """The choice of the serving model is where the comparison starts."""
    data = arriving_users()
    known = side_information(data, informative=True)
    first = choose(data, known)
    assert choose(data, known, first).start[STRENGTH] == first.chosen[STRENGTH]


def test_choose_cohort_strength_without_side_information_changes_nothing() -> None:
    """Without cohorts, or with few new users, the choice is returned as it is."""
    data = arriving_users()
    assert choose(data, SideInformation()) is CHOICE
    few = arriving_users(40)
    assert choose(few, side_information(few, informative=True)) is CHOICE
