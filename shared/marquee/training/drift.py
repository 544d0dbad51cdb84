"""How one snapshot differs from the one that the serving model was made from."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np

from marquee.training.dataset import Dataset

_BINS = 5
_LEAST_SHARE = 1e-4  # An empty bin would make the index infinite.


class DriftParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``rating_psi``: the greatest population stability index between the ratings' distributions.
    ``lost_share``: the greatest share of the ratings, users or films that may be missing."""

    rating_psi: float
    lost_share: float


class Profile(msgspec.Struct, frozen=True):
    """A snapshot in a few numbers. ``shares``: of the ratings, by fifths of the scale; ``mean``: from 0 to 1."""

    ratings: int
    viewings: int
    users: int
    films: int
    newest: datetime
    mean: float
    shares: tuple[float, ...]


def profile(dataset: Dataset) -> Profile:
    """The profile of a checked dataset."""
    span = dataset.rating_max - dataset.rating_min
    places = (dataset.ratings.values - dataset.rating_min) / span
    fifths = np.minimum((places * _BINS).astype(int), _BINS - 1)
    counts = np.bincount(fifths, minlength=_BINS) / len(places)
    newest = max(int(p.times.max()) for p in (dataset.ratings, dataset.viewings) if len(p))
    return Profile(
        ratings=len(dataset.ratings),
        viewings=len(dataset.viewings),
        users=dataset.n_users,
        films=dataset.n_items,
        newest=datetime.fromtimestamp(0, UTC) + timedelta(microseconds=newest),
        mean=float(places.mean()),
        shares=tuple(counts.tolist()),
    )


def stability_index(before: Profile, now: Profile) -> float:
    """The population stability index of the ratings: 0 for equal shares; .25 is usually called a change."""
    pairs = [
        (max(a, _LEAST_SHARE), max(b, _LEAST_SHARE)) for a, b in zip(before.shares, now.shares, strict=True)
    ]
    return sum((b - a) * math.log(b / a) for a, b in pairs)


def findings(before: Profile | None, now: Profile, limits: DriftParams) -> list[str]:
    """What is out of the limits, a sentence each. A snapshot of an earlier time may hold less."""
    if before is None:
        return []
    found = []
    index = stability_index(before, now)
    if index > limits.rating_psi:
        found.append(
            f"the ratings are distributed otherwise than in the snapshot that serves: "
            f"stability index {index:.3f}, and {limits.rating_psi:g} is the limit"
        )
    for name in ("ratings", "users", "films") if now.newest >= before.newest else ():
        had, has = getattr(before, name), getattr(now, name)
        if has < had * (1 - limits.lost_share):
            found.append(f"{had - has} of {had} {name} of the snapshot that serves are missing")
    return found
