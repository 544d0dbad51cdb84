"""Attacks on small data: what they do, that the check finds them, and that a cap limits them in an experiment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from benchmarks.loops.experiment_attack import share_rolled_back
from benchmarks.loops.loop_log import LoopLog
from benchmarks.loops.loop_world import WorldSize, make_world
from benchmarks.loops.poisoning import (
    FAKE,
    NUKE,
    PUSH,
    Attack,
    add_attack,
    choose_targets,
    find_suspects,
    measure_reach,
    without_users,
)

from marquee.data.dataset import Dataset
from marquee.training.params import Params

USERS = 150


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Return 60 days of honest ratings."""
    world = make_world(WorldSize(users=USERS, movies=120, new_movies=0.0), 5)
    log = LoopLog(world)
    rng = np.random.default_rng(5)
    odds = world.suit(world.tastes)
    # Most accounts are established: all begin in the first days.
    for day in range(-60, 1):
        users = rng.choice(USERS, 60, replace=False)
        items = rng.integers(0, 120, 60)
        keep = ~log.seen[users, items]
        log.add(users[keep], items[keep], day, odds[users[keep], items[keep]])
    return log.to_dataset()


@pytest.fixture(scope="module")
def params() -> Params:
    """Return the parameters of the repository."""
    return Params.read(Path("params.yaml"))


@pytest.fixture(scope="module")
def target(data: Dataset, params: Params) -> int:
    """Return the rare movie that the fewest users get."""
    return min(choose_targets(data, PUSH, 8, 1), key=lambda item: measure_reach(data, USERS, item, params).shown)


def test_add_attack_appends_later_ratings_of_fake_accounts(data: Dataset) -> None:
    """Honest rows stay, fake ones follow them in time, and each fake account rates the target once."""
    attacked = add_attack(data, Attack(NUKE, 7, 3, 10), 1)
    n = len(data.ratings)
    assert (attacked.ratings.users[:n] == data.ratings.users).all()
    assert attacked.ratings.times[n:].min() > data.ratings.times.max()
    assert (np.diff(attacked.ratings.times) >= 0).all()
    on_target = attacked.ratings.items[n:] == 3
    assert sorted(attacked.ratings.users[n:][on_target].tolist()) == list(range(USERS, USERS + 7))
    assert set(attacked.ratings.values[n:][on_target]) == {1.0}


def test_push_is_found_and_left_out(data: Dataset, params: Params, target: int) -> None:
    """Thirty accounts push a rare movie to many users; without the suspects few get it."""
    before = measure_reach(data, USERS, target, params)
    attacked = add_attack(data, Attack(PUSH, 30, target, 10), 1)
    after = measure_reach(attacked, USERS, target, params)
    assert after.shown > before.shown + 0.3
    suspects = find_suspects(attacked)
    assert sorted(suspects) == [f"{FAKE}{number:06}" for number in range(30)]
    checked = measure_reach(without_users(attacked, suspects), USERS, target, params)
    assert checked.shown == pytest.approx(before.shown, abs=0.05)


def test_push_by_watches_is_found_and_left_out(data: Dataset, params: Params, target: int) -> None:
    """Accounts that only watch push a rare movie as well; without the suspects its reach is as before."""
    before = measure_reach(data, USERS, target, params)
    attacked = add_attack(data, Attack(PUSH, 60, target, 4, watched=True), 1)
    assert len(attacked.ratings) == len(data.ratings)
    assert measure_reach(attacked, USERS, target, params).shown > before.shown + 0.3
    suspects = find_suspects(attacked)
    assert set(suspects) == {f"{FAKE}{number:06}" for number in range(60)}
    checked = measure_reach(without_users(attacked, suspects), USERS, target, params)
    assert checked.shown == pytest.approx(before.shown, abs=0.05)


def test_find_suspects_without_an_attack_is_empty(data: Dataset) -> None:
    """No honest account is a suspect."""
    assert find_suspects(data) == []


def test_one_account_reaches_few_users(data: Dataset, params: Params, target: int) -> None:
    """One account moves a movie into the lists of at most one user in ten, however many movies it rates."""
    before = measure_reach(data, USERS, target, params).shown
    for fillers in (10, 119):
        after = measure_reach(add_attack(data, Attack(PUSH, 1, target, fillers), 1), USERS, target, params).shown
        assert after <= before + 0.1


def test_share_rolled_back_cap_limits_floods() -> None:
    """Equal arms stay; twenty flooding accounts roll back each experiment, and few with the cap."""
    assert share_rolled_back(0, 1, 20, 1, capped=False) == 0
    assert share_rolled_back(20, 1_000, 20, 1, capped=False) > 0.9
    assert share_rolled_back(20, 1_000, 20, 1, capped=True) < 0.2
