"""Simulated two-arm experiments, looked at every hour: sums of users by run, arm and look.

All runs are drawn at once, as one table of events: ratings with a real model's errors, and lists with the movies
begun and the minutes watched after them. Sums of squares follow each user's running totals, so that a look costs one
addition.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.experiment_users import BEGUN_PER_LIST, Ints, UserPool
from marquee.experiments.ratio_estimates import Floats

HOURS = 336
METRICS = ("rmse", "begun", "minutes")
RATINGS_PER_DAY, LISTS_PER_DAY = 0.5, 1.5
_HISTORY_DAYS = 14
_TASTE_SHAPE = 2.0
_MINUTES_MEAN, _MINUTES_SIGMA = 55.0, 0.8  # Of a movie begun; lognormal.


@dataclass(frozen=True, slots=True)
class _Population:
    """Users of all runs, [runs * users]: real user, arm, activity, taste, hour of their first visit."""

    runs: int
    users: int
    real: Ints
    arm: Ints
    activity: Floats
    taste: Floats
    entry: Ints

    @classmethod
    def draw(cls, pool: UserPool, rng: np.random.Generator, runs: int, users: int) -> _Population:
        size = runs * users
        real = rng.integers(0, len(pool.activity), size)
        taste = rng.gamma(_TASTE_SHAPE, 1 / _TASTE_SHAPE, size)
        # Half of the users are present at the start; the others arrive within ten days.
        entry = np.where(rng.random(size) < 0.5, 0, rng.integers(0, 240, size))
        return cls(runs, users, real, rng.integers(0, 2, size), pool.activity[real], taste, entry)


def simulate_streams(
    pool: UserPool, seed: int, *, runs: int, users: int, lift: float = 0.0, adjusted: bool = False
) -> dict[str, Floats]:
    """Return the sums [runs, 2 arms, 336 looks, 6 or 15] of each metric.

    ``lift`` raises the movies begun, and so the minutes, of the new arm by this fraction. ``adjusted`` adds the
    covariates of each user from 14 days before the start to `begun` and `minutes`.
    """
    rng = np.random.default_rng(seed)
    people = _Population.draw(pool, rng, runs, users)
    user, hour = _draw_events(people, rng, RATINGS_PER_DAY)
    squared = pool.draw_errors(rng, people.real[user]) ** 2
    sums = {"rmse": _sum_events(people, user, hour, squared)}
    user, hour = _draw_events(people, rng, LISTS_PER_DAY)
    begun, minutes = _draw_outcomes(people, rng, user, lift)
    past = _draw_past(people, rng) if adjusted else {}
    sums["begun"] = _sum_events(people, user, hour, begun, past.get("begun"))
    sums["minutes"] = _sum_events(people, user, hour, minutes, past.get("minutes"))
    return sums


def _draw_events(people: _Population, rng: np.random.Generator, per_day: float) -> tuple[Ints, Ints]:
    """Return user and hour of each event, in order of user and hour; evenings have more of them."""
    days = (HOURS - people.entry) / 24
    user = np.repeat(np.arange(len(people.real)), rng.poisson(per_day * days * people.activity))
    hour = people.entry[user] + (rng.random(len(user)) * (HOURS - people.entry[user])).astype(int)
    evening = rng.random(len(user)) < 0.3
    hour = np.where(evening, np.minimum(hour - hour % 24 + 20, HOURS - 1), hour)
    order = np.lexsort((hour, user))
    return user[order], hour[order]


def _draw_outcomes(people: _Population, rng: np.random.Generator, user: Ints, lift: float) -> tuple[Floats, Floats]:
    """Return the movies begun and the minutes watched after each list."""
    rate = BEGUN_PER_LIST * people.taste[user] * (1 + lift * people.arm[user])
    begun = rng.poisson(rate).astype(float)
    length = rng.lognormal(np.log(_MINUTES_MEAN) - _MINUTES_SIGMA**2 / 2, _MINUTES_SIGMA, len(user))
    return begun, begun * length


def _draw_past(people: _Population, rng: np.random.Generator) -> dict[str, tuple[Floats, Floats]]:
    """Return (c1, c2) of each user from the lists of 14 days before the start; 0 for users without any."""
    counts = rng.poisson(LISTS_PER_DAY * _HISTORY_DAYS * people.activity * (people.entry == 0))
    user = np.repeat(np.arange(len(people.real)), counts)
    past = {}
    for name, outcome in zip(("begun", "minutes"), _draw_outcomes(people, rng, user, 0.0), strict=True):
        y = np.bincount(user, outcome, len(people.real))
        past[name] = (y - y.sum() / counts.sum() * counts, counts.astype(float))
    return past


def _sum_events(
    people: _Population, user: Ints, hour: Ints, y: Floats, past: tuple[Floats, Floats] | None = None
) -> Floats:
    """Return the sums of all looks; every event has x = 1 and is ordered by user and hour."""
    first = np.append(True, user[1:] != user[:-1])
    start = np.flatnonzero(first)
    repeats = np.diff(np.append(start, len(user)))
    total = y.cumsum() - y
    before_y = total - np.repeat(total[start], repeats)
    before_x = np.arange(len(user)) - np.repeat(start, repeats)
    # Increments of n, y, x, y*y, x*y and x*x by an event of the user.
    columns = [first, y, np.ones(len(y)), (2 * before_y + y) * y, before_y + y * (before_x + 1), 2 * before_x + 1]
    if past is not None:
        c1, c2 = past[0][user], past[1][user]
        columns += [first * c1, first * c2, first * c1 * c1, first * c1 * c2, first * c2 * c2]
        columns += [y * c1, y * c2, c1, c2]
    cell = ((user // people.users) * 2 + people.arm[user]) * HOURS + hour
    size = people.runs * 2 * HOURS
    sums = np.stack([np.bincount(cell, column, size) for column in columns], -1)
    return sums.reshape(people.runs, 2, HOURS, len(columns)).cumsum(2)
