"""Ratios of sums by group of users, their difference from all other users, and Holm's adjustment.

Every metric is a ratio of sums over observations (a rating, or a list), or its square root. Users are resampled with
all their observations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.fairness import multiplicity
from benchmarks.fairness.fairness_results import GroupRow
from marquee.evaluation.bootstrap import draw_weights, percentile_interval
from marquee.registry.manifest import Metric

Floats = NDArray[np.float64]
Ints = NDArray[np.integer]
Rows = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Observations:
    """n observations of a metric: ``sums`` over ``counts``, or the root of that. ``labels``: groups by kind."""

    users: Ints
    sums: Floats
    counts: Floats
    labels: Mapping[str, Sequence[str]]
    root: bool = False


@dataclass(frozen=True, slots=True)
class Resampling:
    """Resamples of the users of one analysis: ``weights`` [resamples, n_users]; ``interval``: its probability."""

    weights: Floats
    interval: float

    @classmethod
    def draw(cls, n_users: int, resamples: int, seed: int, interval: float) -> Resampling:
        """Draw the users of each resample."""
        return cls(np.vstack(list(draw_weights(n_users, resamples, seed))), interval)

    def ratios(self, observed: Observations, rows: Rows) -> tuple[float, Floats]:
        """Return the metric of the observations ``rows``, and its samples [resamples]."""
        n_users = self.weights.shape[1]
        sums, counts = (
            np.bincount(observed.users[rows], column[rows], n_users) for column in (observed.sums, observed.counts)
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            value, samples = sums.sum() / counts.sum(), (self.weights @ sums) / (self.weights @ counts)
        if observed.root:
            value, samples = np.sqrt(value), np.sqrt(samples)
        return float(value), np.asarray(samples, np.float64)

    def metric(self, value: float, samples: Floats) -> Metric:
        """Return the value with the percentile interval of the samples that are numbers."""
        finite = samples[np.isfinite(samples)]
        return Metric(value, *percentile_interval(finite, self.interval)) if len(finite) else Metric(value)


def compare_groups(metrics: Mapping[str, Observations], resampling: Resampling, min_users: int) -> list[GroupRow]:
    """Return a row for each group of each kind, with its metrics and their differences from all other users.

    p-values are adjusted by Holm's procedure over all groups of one metric. Groups with fewer than ``min_users`` users
    are not tested. Of a kind of two groups one is tested, because the other's difference is the same.
    """
    kinds = next(iter(metrics.values())).labels
    rows: list[GroupRow] = []
    for kind in kinds:
        for group in sorted({name for observed in metrics.values() for name in observed.labels[kind]}):
            rows.append(_measure_group(metrics, kind, group, resampling, min_users))
    return _adjust(rows, metrics)


def _measure_group(
    metrics: Mapping[str, Observations], kind: str, group: str, resampling: Resampling, min_users: int
) -> GroupRow:
    values, differences, p_values, users = {}, {}, {}, {}
    for name, observed in metrics.items():
        members = np.array(observed.labels[kind]) == group
        users[name] = len(np.unique(observed.users[members]))
        if not members.any() or not observed.counts[members].sum():
            continue
        value, samples = resampling.ratios(observed, members)
        values[name] = resampling.metric(value, samples)
        if users[name] >= min_users and not members.all() and group != "unknown":
            rest, rest_samples = resampling.ratios(observed, ~members)
            if not np.isfinite(rest):
                continue
            found = samples - rest_samples
            differences[name] = resampling.metric(value - rest, found)
            p_values[name] = multiplicity.bootstrap_p_value(value - rest, found[np.isfinite(found)])
    return GroupRow(kind, group, users, values, differences, p_values)


def _adjust(rows: Sequence[GroupRow], names: Iterable[str]) -> list[GroupRow]:
    adjusted: list[dict[str, float]] = [{} for _ in rows]
    for name in names:
        tested, mirrored = _tested(rows, name)
        for index, p_value in zip(
            tested, multiplicity.adjust_holm([rows[i].p_values[name] for i in tested]), strict=True
        ):
            adjusted[index][name] = p_value
        for index, other in mirrored.items():
            adjusted[index][name] = adjusted[other][name]
    return [msgspec.structs.replace(row, p_values=p_values) for row, p_values in zip(rows, adjusted, strict=True)]


def _tested(rows: Sequence[GroupRow], name: str) -> tuple[list[int], dict[int, int]]:
    """Return the rows that are tested, and those of the second of two groups with the first one's row."""
    by_kind: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        if name in row.p_values:
            by_kind.setdefault(row.kind, []).append(index)
    groups = {kind: sum(row.kind == kind for row in rows) for kind in by_kind}
    mirrored = {found[1]: found[0] for kind, found in by_kind.items() if len(found) == 2 and groups[kind] == 2}
    return [index for found in by_kind.values() for index in found if index not in mirrored], mirrored
