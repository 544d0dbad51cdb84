"""Exposure of groups of movies against merit and consumption; Gini coefficients and Lorenz curves.

Shares are means over lists. The exposure of a list is that of its ten positions, its merit the movies that the user
likes in the test set. So each list has one unit of both. Consumption is the share of all earlier ratings.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from benchmarks.fairness import multiplicity
from benchmarks.fairness.fair_windows import Data, FairWindow, Floats, Ints, group_movies
from benchmarks.fairness.fairness_results import ProviderRow
from benchmarks.fairness.group_statistics import Observations, Resampling
from benchmarks.fairness.user_metrics import liked_matrix
from marquee.evaluation import exposure
from marquee.evaluation.bootstrap import EvaluationParams
from marquee.evaluation.exposure import LENGTH
from marquee.registry.manifest import Metric

_LORENZ_POINTS = 101


def compare_providers(data: Data, windows: Sequence[FairWindow], resampling: Resampling) -> list[ProviderRow]:
    """Return a row for each group of movies of each kind; p-values are adjusted over all groups of all kinds."""
    users = np.concatenate([w.ranked for w in windows])
    found = [(kind, number, name) for kind, groups in group_movies(data, windows[0]).items()
             for number, name in enumerate(groups.names)]  # fmt: skip
    shares = {kind: _share_groups(data, windows, kind) for kind in group_movies(data, windows[0])}
    rows = [
        _measure_group(kind, name, users, [column[:, number] for column in shares[kind]], resampling)
        for kind, number, name in found
    ]
    by_merit = multiplicity.adjust_holm([row.p_merit for row in rows])
    by_consumption = multiplicity.adjust_holm([row.p_consumption for row in rows])
    movies = {kind: groups.parts.sum(1) for kind, groups in group_movies(data, windows[-1]).items()}
    return [
        msgspec.structs.replace(row, movies=float(movies[kind][number]), p_merit=merit, p_consumption=consumption)
        for row, (kind, number, _), merit, consumption in zip(rows, found, by_merit, by_consumption, strict=True)
    ]


def measure_ginis(windows: Sequence[FairWindow], params: EvaluationParams, seed: int) -> dict[str, Metric]:
    """Return the Gini coefficients of exposure, with its interval, of merit and of consumption."""
    n_items = windows[0].split.train.n_items
    lists = np.concatenate([w.lists for w in windows])
    return {
        "exposure": exposure.exposure_gini(lists, n_items, params, seed),
        "merit": Metric(exposure.gini(_merit_by_item(windows))),
        "consumption": Metric(exposure.gini(_consumption_by_item(windows[-1]))),
    }


def measure_coverage(windows: Sequence[FairWindow]) -> float:
    """Return the fraction of the catalog that is in any list."""
    return len(np.unique(np.concatenate([w.lists[:, :LENGTH].ravel() for w in windows]))) / len(windows[0].scores[0])


def measure_parity(rows: Sequence[ProviderRow]) -> dict[str, float]:
    """Return by kind the exposure a movie of the least exposed group over that of the most exposed one."""
    by_kind: dict[str, list[float]] = {}
    for row in rows:
        if row.movies:
            by_kind.setdefault(row.kind, []).append(row.exposure.value / row.movies)
    return {kind: min(values) / max(values) for kind, values in by_kind.items()}


def draw_lorenz(windows: Sequence[FairWindow]) -> dict[str, list[float]]:
    """Return Lorenz curves at a hundred steps: the share that the least exposed fraction of the movies has."""
    lists = np.concatenate([w.lists[:, :LENGTH] for w in windows])
    columns = {
        "exposure": exposure.total_exposure(lists, len(windows[0].scores[0])),
        "merit": _merit_by_item(windows),
        "consumption": _consumption_by_item(windows[-1]),
    }
    curves = {}
    for name, values in columns.items():
        cumulative = np.concatenate([[0.0], np.cumsum(np.sort(values))]) / values.sum()
        at = np.linspace(0, len(values), _LORENZ_POINTS)
        curves[name] = np.interp(at, np.arange(len(values) + 1), cumulative).round(5).tolist()
    return curves


def share_exposure(parts: Floats, lists: Ints) -> Floats:
    """Return the share of each group in the exposure of each list, [m, n_groups]."""
    discounts = exposure.position_discounts(LENGTH)
    shares: Floats = np.einsum("gmk,k->mg", parts[:, lists[:, :LENGTH]], discounts) / discounts.sum()
    return shares


def share_merit(parts: Floats, window: FairWindow) -> Floats:
    """Return the share of each group in the movies that each ranked user likes, [m, n_groups]."""
    liked = liked_matrix(window).astype(np.float64)
    shares: Floats = (liked @ parts.T) / liked.sum(1, keepdims=True)
    return shares


def _share_groups(data: Data, windows: Sequence[FairWindow], kind: str) -> tuple[Floats, Floats, Floats]:
    """Return exposure, merit and consumption by list and group, [lists, n_groups] each."""
    columns: tuple[list[Floats], list[Floats], list[Floats]] = ([], [], [])
    for window in windows:
        parts = group_movies(data, window)[kind].parts
        consumed = parts @ _consumption_by_item(window)
        columns[0].append(share_exposure(parts, window.lists))
        columns[1].append(share_merit(parts, window))
        columns[2].append(np.tile(consumed / consumed.sum(), (len(window.ranked), 1)))
    exposed, merit, consumption = (np.concatenate(column) for column in columns)
    return exposed, merit, consumption


def _measure_group(
    kind: str, group: str, users: Ints, columns: Sequence[Floats], resampling: Resampling
) -> ProviderRow:
    exposed, merit, consumption = columns
    ones, everyone = np.ones(len(users)), np.ones(len(users), bool)

    def measure(sums: Floats, counts: Floats) -> tuple[float, Floats]:
        return resampling.ratios(Observations(users, sums, counts, {}), everyone)

    def ratio(counts: Floats) -> Metric | None:
        return resampling.metric(*measure(exposed, counts)) if counts.sum() else None

    return ProviderRow(
        kind, group, 0.0,
        resampling.metric(*measure(exposed, ones)), resampling.metric(*measure(merit, ones)), float(consumption.mean()),
        ratio(merit), ratio(consumption),
        multiplicity.bootstrap_p_value(*measure(exposed - merit, ones)),
        multiplicity.bootstrap_p_value(*measure(exposed - consumption, ones)),
    )  # fmt: skip


def _merit_by_item(windows: Sequence[FairWindow]) -> Floats:
    total: Floats = np.sum([liked_matrix(window).sum(0) for window in windows], axis=0, dtype=np.float64)
    return total


def _consumption_by_item(window: FairWindow) -> Floats:
    train = window.split.train
    return np.bincount(train.ratings.items, minlength=train.n_items).astype(np.float64)
