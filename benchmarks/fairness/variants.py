"""Training variants that separate data imbalance from the model: group features, reweighting, and subsampling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.fairness.fair_windows import Data, Prepare
from marquee.data.dataset import Dataset, Interactions
from marquee.evaluation import user_groups

Ints = NDArray[np.integer]
SERVED, FEATURES, BY_GENDER, BY_AGE, FEWER_MEN = (
    "served",
    "group features on",
    "reweighted by gender",
    "reweighted by age",
    "men subsampled",
)


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to prepare the training data. ``note`` describes it to a reader who has not seen the code."""

    name: str
    note: str
    prepare: Prepare


def list_variants(data: Data) -> list[Variant]:
    """Return all variants, the served one first."""
    attributes = data.user_attributes()
    genders = [row.get("gender") or user_groups.UNKNOWN for row in attributes]
    ages = [user_groups.age_band(row.get("age", "")) for row in attributes]
    seed = data.params.seed
    return [
        Variant(SERVED, "the model of `params.yaml`", lambda train: train),
        Variant(
            FEATURES,
            "with age, gender, occupation and zip code of the users as features, which what serves does not use",
            lambda train: replace(train, user_features=data.side.user_blocks(data.dataset.user_ids)),
        ),
        Variant(
            BY_GENDER,
            "users of the smaller gender are repeated until both have equally many ratings",
            lambda train: repeat_users(train, genders, seed),
        ),
        Variant(
            BY_AGE,
            "users of each age band are repeated until all have as many ratings as the largest, at most five times",
            lambda train: repeat_users(train, ages, seed),
        ),
        Variant(
            FEWER_MEN,
            "random men are left out until both genders have equally many ratings; it says something of women only",
            lambda train: drop_users(train, genders, "M", "F", seed),
        ),
    ]


def repeat_users(train: Dataset, labels: Sequence[str], seed: int, max_weight: float = 5.0) -> Dataset:
    """Return ``train`` with copies of the users of small groups, so that each group has equally many ratings.

    Copies are further users, after all others: the rows of users and items stay. A group is repeated at most
    ``max_weight`` times. Reweighting as by Kamiran and Calders (2012), with whole users as weights.
    """
    rng, groups = np.random.default_rng(seed), np.array(labels)
    counts = np.bincount(train.ratings.users, minlength=train.n_users)
    totals = {group: int(counts[groups == group].sum()) for group in sorted(set(labels)) if group != "unknown"}
    copies = np.zeros(train.n_users, int)
    for group, total in totals.items():
        extra = min(max(totals.values()) / total, max_weight) - 1 if total else 0.0
        members = np.flatnonzero(groups == group)
        copies[members] = int(extra) + (rng.random(len(members)) < extra % 1)
    rows = np.repeat(np.arange(train.n_users), copies)
    return _append_users(train, rows)


def drop_users(train: Dataset, labels: Sequence[str], group: str, reference: str, seed: int) -> Dataset:
    """Return ``train`` without the ratings of random users of ``group``, until it has as many as ``reference``."""
    groups = np.array(labels)
    counts = np.bincount(train.ratings.users, minlength=train.n_users)
    shuffled = np.random.default_rng(seed).permutation(np.flatnonzero(groups == group))
    kept = np.cumsum(counts[shuffled]) <= counts[groups == reference].sum()
    return train.without_ratings(np.isin(train.ratings.users, shuffled[~kept]))


def _append_users(train: Dataset, rows: Ints) -> Dataset:
    ids = [*train.user_ids, *(f"{train.user_ids[row]}#{number}" for number, row in enumerate(rows.tolist()))]
    return replace(
        train,
        user_ids=ids,
        ratings=_repeat(train.ratings, rows, train.n_users),
        watch_sessions=_repeat(train.watch_sessions, rows, train.n_users),
        user_features=tuple(np.vstack([block, block[rows]]) for block in train.user_features),
    )


def _repeat(part: Interactions, rows: Ints, n_users: int) -> Interactions:
    """Return the interactions with those of the users ``rows`` again, as users from ``n_users`` on, in order."""
    order = np.argsort(part.users, kind="stable")
    starts = np.searchsorted(part.users[order], rows)
    lengths = np.searchsorted(part.users[order], rows, side="right") - starts
    index = np.concatenate([order[s : s + n] for s, n in zip(starts, lengths, strict=True)] or [np.empty(0, int)])
    users = np.concatenate([part.users, np.repeat(np.arange(len(rows)) + n_users, lengths).astype(np.int32)])
    index = np.concatenate([np.arange(len(part)), index]).astype(int)
    items, values, times = part.items[index], part.values[index], part.times[index]
    by_time = np.lexsort((items, users, times))
    return Interactions(users[by_time], items[by_time], values[by_time], times[by_time])
