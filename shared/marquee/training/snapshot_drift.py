"""How one snapshot differs from the one that the serving model was made from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np

from marquee.data.dataset import Dataset
from marquee.monitoring.drift import DataProfile as Profile
from marquee.monitoring.drift import count_rating_bins, stability_index


class DriftParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``rating_psi``: the greatest population stability index between the ratings' distributions.
    ``max_lost_fraction``: the greatest share of the ratings, users or movies that may be missing.
    """

    rating_psi: float
    max_lost_fraction: float


def profile(dataset: Dataset) -> Profile:
    """The profile of a checked dataset."""
    span = dataset.rating_max - dataset.rating_min
    places = (dataset.ratings.values - dataset.rating_min) / span
    ratings, counts = np.unique(dataset.ratings.values, return_counts=True)
    counted = zip(ratings.tolist(), counts.tolist(), strict=True)
    fractions = np.array(count_rating_bins(counted, dataset.rating_min, dataset.rating_max)) / len(places)
    newest = max(int(p.times.max()) for p in (dataset.ratings, dataset.watch_sessions) if len(p))
    return Profile(
        ratings=len(dataset.ratings),
        watch_sessions=len(dataset.watch_sessions),
        users=dataset.n_users,
        movies=dataset.n_items,
        newest=datetime.fromtimestamp(0, UTC) + timedelta(microseconds=newest),
        mean=float(places.mean()),
        fractions=tuple(fractions.tolist()),
    )


def findings(before: Profile | None, now: Profile, limits: DriftParams) -> list[str]:
    """What is out of the limits, a sentence each. A snapshot of an earlier time may hold less."""
    if before is None:
        return []
    found = []
    index = stability_index(before.fractions, now.fractions)
    if index > limits.rating_psi:
        found.append(
            f"the ratings are distributed otherwise than in the snapshot that serves: "
            f"stability index {index:.3f}, and {limits.rating_psi:g} is the limit"
        )
    for name in ("ratings", "users", "movies") if now.newest >= before.newest else ():
        had, has = getattr(before, name), getattr(now, name)
        if has < had * (1 - limits.max_lost_fraction):
            found.append(f"{had - has} of {had} {name} of the snapshot that serves are missing")
    return found
