"""Poisoning attacks on MovieLens 100K, with and without the exclusion of suspect accounts from training."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np

from benchmarks import movielens
from benchmarks.loops.experiment_attack import USERS, share_rolled_back
from benchmarks.loops.loop_report import mean_with_interval
from benchmarks.loops.poisoning import (
    FAKE,
    NUKE,
    PUSH,
    WINDOW_US,
    Attack,
    add_attack,
    choose_targets,
    find_suspects,
    measure_reach,
    without_users,
)
from benchmarks.registry import BenchmarkResult, at_least, at_most, benchmark, is_full_run
from marquee.registry.manifest import Metric

TARGETS, TARGETS_FULL = 6, 30
SIZES = {"1 account": 1, "1 % of the accounts": 9, "100 accounts": 100}
SEED, RUNS = 1, 300
_CUTS = 40


class PoisonRow(NamedTuple):
    """Means over targets with intervals: share of users with the target in their list, and detected accounts."""

    kind: str
    size: str
    step: float
    before: Metric
    attacked: Metric
    checked: Metric
    change: Metric
    left: Metric
    found: float
    honest: float


@cache
def measure_attacks(kind: str, accounts: int, size: str, step: float = 0.0, *, watched: bool = False) -> PoisonRow:
    """Attack each target separately, and train with and without the accounts that the check finds."""
    data, params = movielens.load().dataset, movielens.PARAMS
    shown: list[tuple[float, float, float]] = []
    found: list[tuple[float, float]] = []
    for target in choose_targets(data, kind, TARGETS_FULL if is_full_run() else TARGETS, SEED):
        attacked = add_attack(data, Attack(kind, accounts, target, step=step, watched=watched), SEED)
        suspects = find_suspects(attacked)
        fakes = sum(user.startswith(FAKE) for user in suspects)
        found.append((fakes / accounts, len(suspects) - fakes))
        parts = attacked, without_users(attacked, suspects)
        after, checked = (measure_reach(part, data.n_users, target, params).shown for part in parts)
        shown.append((_measure_clean(target), after, checked))
    values = 100 * np.array(shown)
    before_, attacked_, checked_ = (mean_with_interval(column) for column in values.T)
    change, left = (mean_with_interval(values[:, at] - values[:, 0]) for at in (1, 2))
    means = np.mean(found, axis=0)
    return PoisonRow(kind, size, step, before_, attacked_, checked_, change, left, float(means[0]), float(means[1]))


@cache
def _measure_clean(target: int) -> float:
    data = movielens.load().dataset
    return measure_reach(data, data.n_users, target, movielens.PARAMS).shown


def count_honest_suspects() -> tuple[int, int]:
    """Return the numbers of suspects and of new accounts over all weeks that end at a cut; no account is fake."""
    data = movielens.load().dataset
    suspects = new = 0
    for share in np.linspace(0.1, 1, _CUTS):
        cut = np.quantile(data.ratings.times, share)
        part = data.without_ratings(data.ratings.times > cut)
        suspects += len(find_suspects(part))
        first = np.full(data.n_users, np.inf)
        np.minimum.at(first, part.ratings.users, part.ratings.times)
        new += int((np.isfinite(first) & (first >= part.ratings.times.max() - WINDOW_US)).sum())
    return suspects, new


@benchmark("poison_push_1", "poison_push_1pct", "poison_push_100", "poison_push_100_unchecked", "poison_found_100")
def push() -> Iterator[BenchmarkResult]:
    """Push rarely rated movies."""
    for name, size, goal in (
        ("poison_push_1", "1 account", 1.0),
        ("poison_push_1pct", "1 % of the accounts", 1.0),
        ("poison_push_100", "100 accounts", 1.0),
    ):
        row = measure_attacks(PUSH, SIZES[size], size)
        yield at_most(name, row.left.value, "% of users", goal, reference=_describe(row), interval=_bounds(row.left))
    row = measure_attacks(PUSH, 100, "100 accounts")
    reference = "what the check prevents: the same attack without it"
    yield at_least(
        "poison_push_100_unchecked",
        row.change.value,
        "% of users",
        0,
        reference=reference,
        interval=_bounds(row.change),
    )
    yield at_least("poison_found_100", 100 * row.found, "% of fakes", 99, reference=f"honest accounts: {row.honest:g}")


@benchmark("poison_watch_1pct", "poison_watch_100", "poison_watch_100_unchecked")
def push_by_watches() -> Iterator[BenchmarkResult]:
    """Push rarely rated movies by watches alone. Each rating of an honest user counts as a watch, too."""
    for name, size in (("poison_watch_1pct", "1 % of the accounts"), ("poison_watch_100", "100 accounts")):
        row = measure_attacks(PUSH, SIZES[size], size, watched=True)
        reference = f"{_describe(row)}; {100 * row.found:.0f} % of the fakes found, {row.honest:g} honest accounts"
        yield at_most(name, row.left.value, "% of users", 1, reference=reference, interval=_bounds(row.left))
    yield at_least(
        "poison_watch_100_unchecked",
        row.change.value,
        "% of users",
        0,
        reference="what the check prevents: the same attack without it",
        interval=_bounds(row.change),
    )


@benchmark("poison_nuke_100", "poison_honest_suspects")
def nuke() -> Iterator[BenchmarkResult]:
    """Nuke the most rated movies, and count false alarms in real weeks without an attack."""
    row = measure_attacks(NUKE, 100, "100 accounts")
    value = abs(row.left.value)
    yield at_most("poison_nuke_100", value, "% of users", 1, reference=_describe(row), interval=_bounds(row.left))
    suspects, new = count_honest_suspects()
    reference = f"{suspects} of {new:,} new accounts in {_CUTS} weeks without an attack"
    yield at_most("poison_honest_suspects", 100 * suspects / new, "%", 0.5, reference=reference)


@benchmark("poison_experiment_1", "poison_experiment_1pct", "poison_experiment_1pct_uncapped")
def experiment() -> Iterator[BenchmarkResult]:
    """Request 1,000 lists with each fake account of the new arm; the arms are equal, so a rollback is an error."""
    for name, accounts in (("poison_experiment_1", 1), ("poison_experiment_1pct", USERS // 100)):
        share = 100 * share_rolled_back(accounts, 1_000, RUNS, SEED, capped=True)
        reference = f"{accounts} accounts beside {USERS:,} honest ones, capped at four times the median of lists"
        yield at_most(name, share, "% rolled back", 2, reference=reference)
    share = 100 * share_rolled_back(USERS // 100, 1_000, RUNS, SEED, capped=False)
    yield at_least("poison_experiment_1pct_uncapped", share, "% rolled back", 0, reference="the same without the cap")


def _describe(row: PoisonRow) -> str:
    return (
        f"{row.before.value:.1f} % of the users get the movie without the attack, {row.attacked.value:.1f} % with it, "
        f"{row.checked.value:.1f} % with the check"
    )


def _bounds(metric: Metric) -> tuple[float, float]:
    return (
        metric.value if metric.low is None else metric.low,
        metric.value if metric.high is None else metric.high,
    )
