"""Drift of a snapshot against the snapshot of the serving model."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
from numpy.typing import NDArray

from marquee.data.dataset import Dataset
from marquee.monitoring.drift import DataProfile, count_rating_bins, stability_index


class DriftParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of the drift check.

    ``rating_psi``: maximum population stability index between the distributions of the ratings.
    ``max_lost_fraction``: maximum fraction of the ratings, users or movies that may be missing.
    """

    rating_psi: float
    max_lost_fraction: float


def profile_dataset(dataset: Dataset) -> DataProfile:
    """Return the profile of a checked dataset.

    Ratings are normalized to [0, 1], so that the profile does not depend on the rating scale.
    """
    values, counts = np.unique(dataset.ratings.values, return_counts=True)
    newest = max(int(part.times.max()) for part in (dataset.ratings, dataset.watch_sessions) if len(part))
    sizes = (len(dataset.watch_sessions), dataset.n_users, dataset.n_items)
    return profile_counts(values, counts, sizes, newest, (dataset.rating_min, dataset.rating_max))


def profile_counts(
    values: NDArray[np.float64],
    counts: NDArray[np.int64],
    sizes: tuple[int, int, int],
    newest: int,
    scale: tuple[float, float],
) -> DataProfile:
    """Return the profile of data with ``counts`` ratings of each of the ``values``.

    ``sizes``: numbers of watch sessions, users and movies. ``newest``: microseconds since 1970.
    """
    n, (low, high) = int(counts.sum()), scale
    counts_by_bin = np.array(count_rating_bins(zip(values.tolist(), counts.tolist(), strict=True), low, high))
    return DataProfile(
        n,
        *sizes,
        newest=datetime.fromtimestamp(0, UTC) + timedelta(microseconds=newest),
        mean=float(((values - low) / (high - low)) @ counts / n),
        fractions=tuple((counts_by_bin / n).tolist()),
    )


def find_drift(reference: DataProfile | None, profile: DataProfile, limits: DriftParams) -> list[str]:
    """Return one sentence per exceeded limit; none without a ``reference``.

    If the snapshot ends before the reference, missing data do not count as drift.
    """
    if reference is None:
        return []
    findings = []
    index = stability_index(reference.fractions, profile.fractions)
    if index > limits.rating_psi:
        findings.append(
            f"the distribution of the ratings differs from that of the serving model's snapshot: "
            f"stability index {index:.3f}, above the limit of {limits.rating_psi:g} (drift.rating_psi)"
        )
    for name in ("ratings", "users", "movies") if profile.newest >= reference.newest else ():
        before, now = getattr(reference, name), getattr(profile, name)
        if now < before * (1 - limits.max_lost_fraction):
            findings.append(f"{before - now} of {before} {name} of the serving model's snapshot are missing")
    return findings
