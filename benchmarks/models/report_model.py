"""Results of the comparison, stored in ``reports/models.json``."""

from __future__ import annotations

import msgspec

from benchmarks.report_files import StoredReport
from marquee.backtest.backtest_summary import BacktestReport
from marquee.data.side_information import USER_ATTRIBUTES
from marquee.evaluation.paired_test import PairedComparison
from marquee.registry.manifest import Metric


class AlgorithmResult(msgspec.Struct, frozen=True):
    """One algorithm under one protocol.

    - ``metrics``: by name; each is over all splits
    - ``cpu_s``: CPU seconds of one training, the mean over splits
    - ``answer_us``: median time to a list of 20 items, in microseconds
    - ``memory_bytes``: arrays that a serving instance holds; ``storage_bytes``: these and the per-user rows
    """

    name: str
    metrics: dict[str, Metric]
    cpu_s: float
    answer_us: float
    memory_bytes: int
    storage_bytes: int


class ProtocolResult(msgspec.Struct, frozen=True):
    """All algorithms under one protocol, which tests ``ratings`` ratings of ``users`` users."""

    name: str
    ratings: int
    users: int
    algorithms: list[AlgorithmResult]


class WindowResult(msgspec.Struct, frozen=True):
    """The served models on one window of the temporal backtest, or on several together.

    They are trained on everything before ``start``, a fraction of the ratings by time, and tested on the next tenth.

    - ``rmse``: by model, then by group of users: "all", "known" (with ratings before the window) and "new"
    - ``ndcg``: NDCG@10 by list
    - ``coverage``: by group, the fraction of ratings within the 80 % interval calibrated on the previous window
    """

    start: float
    ratings: int
    users: int
    new_users: int
    rmse: dict[str, dict[str, Metric]]
    ndcg: dict[str, Metric]
    coverage: dict[str, Metric]


class CohortResult(msgspec.Struct, frozen=True):
    """Cohort lists against the popular list for new users: NDCG@10 and NDCG@20.

    ``past``: by prior strength, over the past windows; ``holdout``: with ``served_strength``, on the temporal holdout.
    Both are empty if there are no new users.
    """

    past: dict[str, list[PairedComparison]]
    holdout: list[PairedComparison]
    served_strength: str


class ModelReport(StoredReport, frozen=True, kw_only=True):
    """The complete comparison.

    - ``notes``: description of each algorithm
    - ``windows``: of the evaluation by windows, the temporal holdout last; ``pooled``: all but the last together
    - ``user_attributes``: side information of users that was used, but for ``backtest``
    - ``backtest``: replay through the serving code, with the parameters and attributes of ``params.yaml``
    """

    notes: dict[str, str]
    protocols: list[ProtocolResult]
    windows: list[WindowResult]
    pooled: WindowResult
    cohorts: CohortResult
    user_attributes: tuple[str, ...] = USER_ATTRIBUTES
    backtest: BacktestReport | None = None
