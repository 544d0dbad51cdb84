"""Looks at an experiment with known effects, made from simulated users."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np

from marquee.experiments.declaration import Declaration, parse_declaration
from marquee.experiments.look import Look, ReleaseState
from marquee.experiments.ratio_estimates import sum_users

START = datetime(2026, 3, 1, tzinfo=UTC)
NOW = START + timedelta(hours=2)
CANARY = parse_declaration("canary", {"kind": "canary"})
TRIAL = parse_declaration("trial", {"kind": "experiment", "arms": {"control": "a.yaml", "trend": "b.yaml"}})
BASELINES = {"rates": 0.9, "watched": 0.3, "minutes": 30.0, "preferred": 0.3}


def make_sums(mean: float, spread: float, users: int, seed: int) -> tuple[float, ...]:
    """Return the sums of users with two observations each, whose ratio is ``mean`` exactly."""
    y = np.random.default_rng(seed).normal(0, spread, users)
    return tuple(sum_users(y - y.mean() + 2 * mean, np.full(users, 2.0)).tolist())


def make_look(
    declaration: Declaration = CANARY,
    *,
    users: int = 40_000,
    failing: float = 0.0,
    rates: float = 0.0,
    watched: float = 0.3,
    minutes: float = 30.0,
    preferred: float = 0.0,
) -> Look:
    """Return a look at which both arms have ``users``, the new one with these values; else it is as control is."""
    arms = dict.fromkeys(declaration.arms, 0)
    sums: dict[str, dict[str, tuple[float, ...]]] = {name: {} for name in ("answered", "rates", "watched", "minutes")}
    for seed, arm in enumerate(arms):
        new = arm != declaration.control
        sums["answered"][arm] = make_sums(failing if new else 0.0, 0.0, users, seed)
        sums["watched"][arm] = make_sums(watched if new else 0.3, 0.8, users, seed)
        sums["minutes"][arm] = make_sums(minutes if new else 30.0, 40.0, users, seed)
        if new:
            sums["rates"][arm] = make_sums(rates, 0.2, users, seed)
            sums.setdefault("preferred", {})[arm] = make_sums(preferred, 0.8, users, seed)
    counts = dict.fromkeys(arms, users)
    return Look(
        experiment=declaration.name,
        release=7,
        as_of=NOW - timedelta(minutes=2),
        newest=dict.fromkeys(arms, NOW),
        recent=dict.fromkeys(arms, 100),
        sums=sums,
        baselines=BASELINES,
        failed={declaration.treatments[0]: round(failing * users)},
        users=counts,
        impressed=counts,
    )


def make_state(declaration: Declaration = CANARY, share: float = 0.02, held: bool = False) -> ReleaseState:
    """Return a release of two hours ago."""
    return ReleaseState(number=7, experiment=declaration.name, share=share, since=START, started=START, held=held)


def change(look: Look, **fields: object) -> Look:
    """Return the look with other fields."""
    return msgspec.structs.replace(look, **fields)
