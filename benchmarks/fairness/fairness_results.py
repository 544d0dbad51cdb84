"""Results of the analysis, stored in ``reports/fairness_analysis.json``."""

from __future__ import annotations

import msgspec

from benchmarks.report_files import StoredReport
from marquee.registry.manifest import Metric


class GroupRow(msgspec.Struct, frozen=True):
    """A group of users, by metric.

    ``users``: users with an observation. ``differences``: from all other users. ``p_values``: adjusted by Holm's
    procedure; a metric that is not tested has neither.
    """

    kind: str
    group: str
    users: dict[str, int]
    values: dict[str, Metric]
    differences: dict[str, Metric]
    p_values: dict[str, float]


class ProviderRow(msgspec.Struct, frozen=True):
    """A group of movies: shares of exposure, merit and consumption, and ratios of the first to the others.

    ``p_merit`` and ``p_consumption``: of the difference of the shares, adjusted by Holm's procedure.
    """

    kind: str
    group: str
    movies: float
    exposure: Metric
    merit: Metric
    consumption: float
    by_merit: Metric | None
    by_consumption: Metric | None
    p_merit: float
    p_consumption: float


class VariantRow(msgspec.Struct, frozen=True):
    """A variant of training: differences from the served one by metric, with adjusted p-values."""

    name: str
    note: str
    differences: dict[str, Metric]
    p_values: dict[str, float]


class NoiseRow(msgspec.Struct, frozen=True):
    """Predictability of a group: the spread of its ratings, and the results of simple models and of the served one.

    ``popular_ndcg`` is that of the list that is the same for all users; ``ndcg_gain`` what the served lists add to it.
    """

    kind: str
    group: str
    spread: Metric
    bias_only: Metric
    served: Metric
    ratings: int
    training_share: float
    popular_ndcg: Metric | None = None
    ndcg_gain: Metric | None = None


class MitigationRow(msgspec.Struct, frozen=True):
    """A setting of a mitigation.

    ``quality`` and ``unfairness`` are the axes of the Pareto plot; ``cost``: paired difference of quality from the
    served system. ``others``: further metrics by name. ``efficient``: no other setting of the plot is better in both.
    """

    plot: str
    family: str
    name: str
    quality: Metric
    unfairness: Metric
    cost: Metric
    others: dict[str, float]
    efficient: bool = False


class Reliability(msgspec.Struct, frozen=True):
    """Mean predicted and mean given rating, by fifth of the predictions of a group."""

    group: str
    predicted: list[float]
    given: list[float]


class FairnessAnalysis(StoredReport, frozen=True, kw_only=True):
    """The complete analysis.

    - ``min_users``: a group with fewer users is not tested
    - ``users`` and ``intersections`` on all windows together, ``holdout`` on the temporal holdout
    - ``ginis``: of exposure, merit and consumption; ``parity``: by kind, exposure a movie of the group that has least
      over that of the one that has most
    - ``lorenz``: by name, the cumulative shares of movies in order of their share
    """

    min_users: int
    ratings: int
    n_users: int
    lists: int
    users: list[GroupRow]
    holdout: list[GroupRow]
    intersections: list[GroupRow]
    providers: list[ProviderRow]
    holdout_providers: list[ProviderRow]
    ginis: dict[str, Metric]
    coverage: float
    parity: dict[str, float]
    lorenz: dict[str, list[float]]
    reliability: list[Reliability]
    noise: list[NoiseRow]
    variants: list[VariantRow]
    mitigations: list[MitigationRow]
