"""Summary of a backtest: metrics of every candidate, and paired differences of the first from the others."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from marquee.backtest import live_metrics, running_models
from marquee.backtest.backtest_jobs import BacktestInputs, Job, run_jobs
from marquee.backtest.backtest_plan import BacktestPlan, Block, make_blocks
from marquee.backtest.engine_replay import NOT_RELEVANT, Arrays
from marquee.backtest.event_stream import EventStream
from marquee.backtest.live_metrics import Cells
from marquee.data.side_information import USER_ATTRIBUTES
from marquee.evaluation.exposure import gini
from marquee.models.trainer_port import ProgressCallback, no_progress
from marquee.registry.manifest import Metric

_WITHOUT_RIVER = f"{running_models.RIVER} was not measured: river is not installed (`pip install river`)"
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BY_KNOWN = {"0": (0, 0), "1-5": (1, 5), "6-20": (6, 20), "21-100": (21, 100), "more": (101, np.inf)}
"""Groups of events by the number of ratings known of the user."""
BY_AGE_DAYS = {"first week": (0, 7), "first month": (7, 30), "first quarter": (30, 91), "older": (91, np.inf)}
"""Groups of events by the days since the first event of the movie, the upper bound excluded."""


class GroupResult(msgspec.Struct, frozen=True):
    """One group of events: metrics by candidate, and differences of the first candidate from each other one."""

    ratings: int
    metrics: dict[str, dict[str, Metric]]
    differences: dict[str, dict[str, Metric]]


class CandidateCost(msgspec.Struct, frozen=True):
    """CPU seconds of all trainings and of the whole replay."""

    train_cpu_s: float
    replay_cpu_s: float


class CutResult(msgspec.Struct, frozen=True):
    """Events between two retrainings: the time of the first, and metrics by candidate."""

    time: str
    ratings: int
    metrics: dict[str, dict[str, float]]


class BacktestReport(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a backtest.

    - ``data``: SHA-256 of the dataset; ``seed``, ``interval``, ``resamples``: of the bootstrap over users and cuts
    - ``ratings``: predicted by every candidate; ``left_out``: of a movie that a candidate did not know
    - ``lists``: made by every candidate that ranks
    - ``overall``, ``by_known``, ``by_movie_age``: metrics and paired differences
    - ``coverage``, ``gini``: fraction of the catalog that was shown, and inequality of exposure, by candidate
    - ``staleness``: metrics of the first model if each retraining served later, less those of today
    - ``notes``: what was not measured; ``user_attributes``: side information of users that was used
    """

    plan: BacktestPlan
    data: str
    seed: int
    interval: float
    resamples: int
    users: int
    ratings: int
    left_out: int
    lists: int
    overall: GroupResult
    by_known: dict[str, GroupResult]
    by_movie_age: dict[str, GroupResult]
    coverage: dict[str, float]
    gini: dict[str, float]
    cost: dict[str, CandidateCost]
    cuts: list[CutResult]
    staleness: dict[str, dict[str, Metric]]
    notes: list[str]
    user_attributes: tuple[str, ...] = USER_ATTRIBUTES


def backtest(
    inputs: BacktestInputs, directory: Path, *, workers: int = 1, progress: ProgressCallback = no_progress
) -> BacktestReport:
    """Run all jobs, resuming from the results in ``directory``, and summarize them."""
    return summarize(inputs, run_jobs(inputs, directory, workers=workers, progress=progress))


class _Candidate:
    """Results of one candidate, by event from the first tested one on."""

    def __init__(self, n: int, n_items: int) -> None:
        self.predicted = np.full(n, np.nan)
        self.position = np.full(n, NOT_RELEVANT, np.int64)
        self.shown = np.zeros(n_items, np.int64)
        self.cpu_s = np.zeros(2)
        self.late: dict[int, tuple[Arrays, int]] = {}  # First row of a block -> its results, and its end.

    def add(self, job: Job, arrays: Arrays, first: int) -> None:
        rows = arrays["rows"].astype(np.int64)
        own = rows < job.block.last
        if "predicted" in arrays:
            self.predicted[rows[own] - first] = arrays["predicted"][own]
        if "position" in arrays:
            self.position[rows[own] - first] = arrays["position"][own]
            self.shown += arrays["shown"].astype(np.int64)
        self.cpu_s += arrays["cpu_s"].astype(np.float64)
        self.late[job.block.first] = (arrays, job.block.last)


def summarize(inputs: BacktestInputs, results: list[tuple[Job, Arrays]]) -> BacktestReport:
    """Return the report of finished jobs."""
    stream, params = inputs.stream, inputs.params
    blocks = make_blocks(inputs.plan, stream)
    first, last = blocks[0].first, blocks[-1].last
    tested = slice(first, last)
    by_name: dict[str, _Candidate] = {}
    for job, arrays in results:
        candidate = by_name.setdefault(job.candidate, _Candidate(last - first, stream.dataset.n_items))
        candidate.add(job, arrays, first)
    candidates = {name: by_name[name] for name in _order(inputs.plan, by_name)}
    ratings = np.where(stream.is_rating, stream.values, np.nan)[tested]
    usable = _predicted_by_all(candidates)
    cut = np.searchsorted([block.first for block in blocks], np.arange(first, last), side="right") - 1
    cells = Cells(stream.users[tested], cut, params.evaluation, params.seed)
    values = {
        name: live_metrics.event_metrics(np.where(usable, c.predicted, np.nan), ratings, c.position)
        for name, c in candidates.items()
    }
    known, age = stream.count_known_ratings()[tested], stream.movie_age_days()[tested]
    is_counted = usable & np.isfinite(ratings)
    known_masks = {name: (known >= low) & (known <= high) for name, (low, high) in BY_KNOWN.items()}
    age_masks = {name: (age >= low) & (age < high) for name, (low, high) in BY_AGE_DAYS.items()}
    known_masks, age_masks = ({n: m for n, m in masks.items() if m.any()} for masks in (known_masks, age_masks))
    everything = np.ones(last - first, bool)
    main = candidates[inputs.plan.models[0].name]
    return BacktestReport(
        plan=inputs.plan,
        data=stream.dataset.sha256(),
        seed=params.seed,
        interval=params.evaluation.interval,
        resamples=params.evaluation.resamples,
        users=len(np.unique(stream.users[tested])),
        ratings=int(is_counted.sum()),
        left_out=int(np.isfinite(ratings).sum() - is_counted.sum()),
        lists=int((main.position >= 0).sum()),
        overall=_group(cells, values, everything, is_counted),
        by_known={name: _group(cells, values, rows, is_counted) for name, rows in known_masks.items()},
        by_movie_age={name: _group(cells, values, rows, is_counted) for name, rows in age_masks.items()},
        coverage={name: float((c.shown > 0).mean()) for name, c in candidates.items() if c.shown.any()},
        gini={name: gini(c.shown.astype(np.float64)) for name, c in candidates.items() if c.shown.any()},
        cost={name: CandidateCost(*c.cpu_s.tolist()) for name, c in candidates.items()},
        cuts=[_cut(stream, block, values, is_counted, first) for block in blocks],
        staleness=_staleness(inputs, blocks, main, ratings, cells),
        notes=[] if running_models.has_river() else [_WITHOUT_RIVER],
        user_attributes=tuple(params.data.user_attributes),
    )


def _order(plan: BacktestPlan, found: Mapping[str, object]) -> list[str]:
    served = [model.name for model in plan.models]
    return served + [name for name in found if name not in served]


def _predicted_by_all(candidates: Mapping[str, _Candidate]) -> NDArray[np.bool_]:
    """Return the mask of ratings that all candidates with a rating model have predicted, [n events]."""
    predictions = [c.predicted for c in candidates.values() if np.isfinite(c.predicted).any()]
    return np.asarray(np.logical_and.reduce([np.isfinite(predicted) for predicted in predictions]), np.bool_)


def _group(
    cells: Cells, values: Mapping[str, dict[str, Floats]], mask: NDArray[np.bool_], is_counted: NDArray[np.bool_]
) -> GroupResult:
    main, *others = values
    return GroupResult(
        ratings=int((mask & is_counted).sum()),
        metrics={name: live_metrics.compare_each(cells, own, rows=mask) for name, own in values.items()},
        differences={name: live_metrics.compare_each(cells, values[main], values[name], mask) for name in others},
    )


def _cut(
    stream: EventStream,
    block: Block,
    values: Mapping[str, dict[str, Floats]],
    is_counted: NDArray[np.bool_],
    first: int,
) -> CutResult:
    rows = slice(block.first - first, block.last - first)
    metrics: dict[str, dict[str, float]] = {}
    for name, own in values.items():
        for metric in (*live_metrics.ACCURACY, *live_metrics.RANKING):
            column = own[metric][rows]
            if np.isfinite(column).any():
                mean = float(np.nanmean(column))
                metrics.setdefault(name, {})[metric] = mean**0.5 if metric == "rmse" else mean
    time = datetime.fromtimestamp(int(stream.times[block.first]) / 1e6, UTC)
    return CutResult(time.isoformat(timespec="seconds"), int(is_counted[rows].sum()), metrics)


def _staleness(
    inputs: BacktestInputs, blocks: list[Block], main: _Candidate, ratings: Floats, cells: Cells
) -> dict[str, dict[str, Metric]]:
    """Return the cost of each delay, during which the previous model predicts the first events of a block."""
    stream, first = inputs.stream, blocks[0].first
    now = live_metrics.event_metrics(main.predicted, ratings, main.position)
    costs = {}
    for delay in inputs.plan.delays:
        predicted, position = main.predicted.copy(), main.position.copy()
        microseconds = int(delay.total_seconds() * 1e6)
        for block in reversed(blocks[:-1]):  # The oldest of several that are late counts.
            arrays, end = main.late[block.first]
            rows = arrays["rows"].astype(np.int64)
            # The next model serves from ``delay`` after its cut; until then this one does.
            late = (rows >= end) & (stream.times[rows] < stream.times[min(end, len(stream) - 1)] + microseconds)
            predicted[rows[late] - first] = arrays["predicted"][late]
            position[rows[late] - first] = arrays["position"][late]
        costs[_describe(microseconds)] = live_metrics.compare_each(
            cells, live_metrics.event_metrics(predicted, ratings, position), now
        )
    return costs


def _describe(microseconds: int) -> str:
    hours = microseconds / 3.6e9
    return f"{hours / 24:g} d" if hours >= 24 else f"{hours:g} h"
