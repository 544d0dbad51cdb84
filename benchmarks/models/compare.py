"""Comparison of all algorithms under all protocols, and temporal backtest of the served models."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from benchmarks import user_splits
from benchmarks.models import backtest_windows
from benchmarks.models.aggregate import AggregateSettings, aggregate_splits
from benchmarks.models.algorithms import ALGORITHMS
from benchmarks.models.backtest_windows import WINDOW_STARTS
from benchmarks.models.compare_cache import ArrayCache
from benchmarks.models.report_model import ModelReport, ProtocolResult, WindowResult
from benchmarks.models.split_metrics import Arrays, measure_split
from marquee.data import splits
from marquee.data.dataset import Dataset
from marquee.data.side_information import SideInformation
from marquee.data.splits import Split
from marquee.models.trainer_port import ProgressCallback
from marquee.training import provenance
from marquee.training.params import Params

FOLDS, FOLD_SEED = 5, 0
# Ratings of a first, untimed fit, in which the code is compiled.
_WARM_UP_RATINGS = 2000
_BACKTEST = "temporal backtest"


@dataclass
class _Comparison:
    """State that all parts of a comparison share."""

    dataset: Dataset
    side_information: SideInformation
    params: Params
    cache: ArrayCache
    settings: AggregateSettings
    progress: ProgressCallback
    compiled: set[str] = field(default_factory=set)

    def run_protocol(self, name: str, parts: Sequence[Split], algorithms: Sequence[str]) -> ProtocolResult:
        """Measure all ``algorithms`` on all ``parts`` of a protocol."""
        results = []
        for number, algorithm in enumerate(algorithms):
            measured = []
            for part, split in enumerate(parts):
                self.progress(name, (number + part / len(parts)) / len(algorithms))
                measured.append(self._measure_cached(algorithm, split))
            results.append(aggregate_splits(algorithm, measured, self.dataset.n_items, self.settings))
        self.progress(name, 1.0)
        users = len(np.unique(np.concatenate([split.test.users for split in parts])))
        return ProtocolResult(name, sum(len(split.test) for split in parts), users, results)

    def measure_windows(self) -> dict[float, Arrays]:
        """Measure the served models on every window of the backtest."""
        windows = {}
        for number, start in enumerate(WINDOW_STARTS):
            self.progress(_BACKTEST, number / len(WINDOW_STARTS))
            windows[start] = self.cache.get({"window": start}, partial(self._measure_window, start))
        self.progress(_BACKTEST, 1.0)
        return windows

    def aggregate_windows(self, starts: Sequence[float], windows: dict[float, Arrays]) -> WindowResult:
        """Return the metrics of the windows at ``starts`` together."""
        previous = dict(zip(WINDOW_STARTS[1:], WINDOW_STARTS, strict=False))
        return backtest_windows.aggregate_windows(
            starts[0],
            [windows[start] for start in starts],
            [windows[previous[start]] for start in starts],
            self.settings,
        )

    def _measure_cached(self, algorithm: str, split: Split) -> Arrays:
        key = {"algorithm": algorithm, "split": split.name}
        return self.cache.get(key, lambda: self._measure(algorithm, split))

    def _measure(self, algorithm: str, split: Split) -> Arrays:
        if algorithm not in self.compiled:
            rest = np.arange(len(split.train.ratings)) >= _WARM_UP_RATINGS
            ALGORITHMS[algorithm].fit(split.train.without_ratings(rest), self.params)
            self.compiled.add(algorithm)
        return measure_split(ALGORITHMS[algorithm], split, self.params)

    def _measure_window(self, start: float) -> Arrays:
        split = backtest_windows.split_window(self.dataset, start)
        return backtest_windows.measure_window(split, self.side_information, self.params)


def compare(
    dataset: Dataset,
    side_information: SideInformation,
    params: Params,
    *,
    cache: Path,
    algorithms: Sequence[str],
    today: date,
    progress: ProgressCallback,
) -> ModelReport:
    """Compare ``algorithms``. Raises :class:`TrainingDataError` if the data cannot be split by time."""
    data, machine = dataset.sha256(), describe_machine()
    array_cache = ArrayCache(cache, data, msgspec.json.encode(params).decode())
    settings = AggregateSettings.from_params(params)
    comparison = _Comparison(dataset, side_information, params, array_cache, settings, progress)
    protocols = [comparison.run_protocol(name, list(parts), algorithms) for name, parts in _protocols(dataset, params)]
    windows = comparison.measure_windows()
    return ModelReport(
        made=today.isoformat(),
        machine=machine,
        versions=provenance.library_versions(),
        seed=params.seed,
        data=data,
        interval=params.evaluation.interval,
        resamples=params.evaluation.resamples,
        notes={name: ALGORITHMS[name].note for name in algorithms},
        protocols=protocols,
        windows=[comparison.aggregate_windows([start], windows) for start in WINDOW_STARTS[1:]],
        pooled=comparison.aggregate_windows(WINDOW_STARTS[1:-1], windows),
        cohorts=backtest_windows.aggregate_cohorts(windows, params),
        user_attributes=tuple(params.data.user_attributes),
    )


def _protocols(dataset: Dataset, params: Params) -> Iterator[tuple[str, Iterator[Split]]]:
    yield f"{FOLDS} random folds", user_splits.k_folds(dataset, FOLDS, FOLD_SEED)
    yield "each user's last 20 % by time", iter([user_splits.per_user_holdout(dataset, 0.2)])
    holdout = splits.temporal_holdout(dataset, params.holdout_fraction)
    yield f"temporal holdout, the newest {100 * params.holdout_fraction:g} %", iter([holdout])


def describe_machine() -> str:
    """Return the machine's class and its load before the comparison."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores, {platform.machine()}, {memory:.0f} GB, {platform.system()}, load {load:.1f}"
