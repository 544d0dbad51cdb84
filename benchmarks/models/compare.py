"""All systems under all protocols, and what serves on past cuts in time."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.models import backtest_windows as in_time
from benchmarks.models.aggregate import AggregateSettings, row
from benchmarks.models.algorithms import ALGORITHMS
from benchmarks.models.compare_cache import Cache
from benchmarks.models.report_model import Cut, ModelReport, Protocol
from benchmarks.models.split_metrics import Arrays, measure
from marquee.data import splits
from marquee.data.dataset import Dataset
from marquee.data.side_information import SideInformation
from marquee.data.splits import Split
from marquee.models.trainer_port import Progress
from marquee.training import provenance
from marquee.training.params import Params

FOLDS, FOLD_SEED = 5, 0
_WARM_UP = 2000  # ratings on which everything is compiled before it is timed


@dataclass
class _Work:
    """What all parts of a comparison share."""

    dataset: Dataset
    facts: SideInformation
    params: Params
    kept: Cache
    settings: AggregateSettings
    progress: Progress
    compiled: set[str] = field(default_factory=set)

    def protocol(self, name: str, parts: Sequence[Split], systems: Sequence[str]) -> Protocol:
        """All ``systems`` on all ``parts`` of one way to cut the data."""
        rows = []
        for number, system in enumerate(systems):
            found = []
            for part, split in enumerate(parts):
                self.progress(name, (number + part / len(parts)) / len(systems))
                found.append(self._measured(system, split))
            rows.append(row(system, found, self.dataset.n_items, self.settings))
        self.progress(name, 1.0)
        asked = len(np.unique(np.concatenate([split.test.users for split in parts])))
        return Protocol(name, sum(len(split.test) for split in parts), asked, rows)

    def _measured(self, system: str, split: Split) -> Arrays:
        return self.kept.get({"system": system, "split": split.name}, lambda: self._timed(system, split))

    def _timed(self, system: str, split: Split) -> Arrays:
        """After a first run on a little of it, in which is compiled what is compiled."""
        if system not in self.compiled:
            rest = np.arange(len(split.train.ratings)) >= _WARM_UP
            ALGORITHMS[system].learn(split.train.without_ratings(rest), self.params)
            self.compiled.add(system)
        return measure(ALGORITHMS[system], split, self.params)

    def by_cut(self) -> dict[float, Arrays]:
        """What serves, on every cut in time."""
        found = {}
        for number, at in enumerate(in_time.CUTS):
            self.progress("cuts in time", number / len(in_time.CUTS))
            split = in_time.split_at(self.dataset, at)
            found[at] = self.kept.get(
                {"cut": at},
                lambda split=split: in_time.measure(split, self.facts, self.params),  # type: ignore[misc]
            )
        self.progress("cuts in time", 1.0)
        return found

    def cut(self, at: Sequence[float], by_cut: dict[float, Arrays]) -> Cut:
        """The cuts ``at`` together."""
        before = dict(zip(in_time.CUTS[1:], in_time.CUTS, strict=False))
        return in_time.cut(at[0], [by_cut[a] for a in at], [by_cut[before[a]] for a in at], self.settings)


def compare(
    dataset: Dataset,
    facts: SideInformation,
    params: Params,
    *,
    cache: Path,
    systems: Sequence[str],
    today: date,
    progress: Progress,
) -> ModelReport:
    """Everything for ``systems``. Raises :class:`TrainingDataError` where the data cannot be cut in time."""
    data, where = dataset.sha256(), machine()
    kept = Cache(cache, data, msgspec.json.encode(params).decode())
    work = _Work(dataset, facts, params, kept, AggregateSettings.of(params, data), progress)
    protocols = [work.protocol(name, list(parts), systems) for name, parts in _protocols(dataset, params)]
    by_cut = work.by_cut()
    return ModelReport(
        made=today.isoformat(),
        machine=where,
        versions=provenance.libraries(),
        seed=params.seed,
        data=data,
        interval=params.evaluation.interval,
        resamples=params.evaluation.resamples,
        notes={name: ALGORITHMS[name].note for name in systems},
        protocols=protocols,
        cuts=[work.cut([at], by_cut) for at in in_time.CUTS[1:]],
        pooled=work.cut(in_time.CUTS[1:-1], by_cut),
        cohorts=in_time.of_cohorts(by_cut, params),
    )


def _protocols(dataset: Dataset, params: Params) -> Iterator[tuple[str, Iterator[Split]]]:
    yield f"{FOLDS} folds at random", splits.k_folds(dataset, FOLDS, FOLD_SEED)
    yield "each user's last 20 % by time", iter([splits.per_user_holdout(dataset, 0.2)])
    newest = splits.temporal_holdout(dataset, params.holdout_fraction)
    yield f"one cut in time, the newest {100 * params.holdout_fraction:g} %", iter([newest])


def machine() -> str:
    """Its class, and how busy others keep it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores, {platform.machine()}, {memory:.0f} GB, {platform.system()}, load {load:.1f} before"
