"""Report of a simulation: runs by variant and seed, and comparisons paired by seed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from scipy import stats

import marquee
from benchmarks.loops.loop_days import make_start, simulate_days
from benchmarks.loops.loop_measures import LoopRun
from benchmarks.loops.loop_variants import PLAIN, LoopVariant
from benchmarks.loops.loop_world import WorldSize
from marquee.config.atomic_file import write_atomically
from marquee.evaluation.exposure import Floats
from marquee.registry.manifest import Metric
from marquee.training.params import Params

Report = Callable[[str, float], None]
INTERVAL = 0.95
_LIBRARY = Path(marquee.__file__).parent
_CODE = ("models/**/*.py", "scoring/*.py", "serving/*.py", "training/*.py")
"""Glob patterns of the code of the library that a run depends on. When it changes, stored runs are recomputed."""


class LoopReport(msgspec.Struct, frozen=True):
    """Runs by variant, in the order of ``seeds``, with the inputs of the simulation."""

    size: WorldSize
    seeds: list[int]
    runs: dict[str, list[LoopRun]]
    made: str = ""
    machine: str = ""

    def mean(self, variant: str, measure: str) -> Metric:
        """Return the mean of a measure over the last days, with its 95 % interval over seeds."""
        return mean_with_interval(np.array([run.at_end()[measure] for run in self.runs[variant]]))

    def difference(self, variant: str, measure: str, baseline: str = PLAIN) -> Metric:
        """Return the mean difference from ``baseline``, paired by seed, with its 95 % interval."""
        pairs = zip(self.runs[variant], self.runs[baseline], strict=True)
        return mean_with_interval(np.array([one.at_end()[measure] - other.at_end()[measure] for one, other in pairs]))

    def curve(self, variant: str, measure: str) -> tuple[Floats, Floats]:
        """Return the daily mean of a measure over seeds, and half the width of its interval, [days] each."""
        values = np.array([run.days[measure] for run in self.runs[variant]])
        n = len(values)
        if n < 2:
            return values[0], np.zeros(values.shape[1])
        return values.mean(0), stats.t.ppf((1 + INTERVAL) / 2, n - 1) * values.std(0, ddof=1) / np.sqrt(n)


def mean_with_interval(values: Floats) -> Metric:
    """Return the mean of ``values`` [n] with the 95 % interval of Student's t; for n = 1 there is no interval."""
    mean = float(values.mean())
    if len(values) < 2:
        return Metric(mean)
    half = float(stats.t.ppf((1 + INTERVAL) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return Metric(mean, mean - half, mean + half)


def simulate_loops(
    size: WorldSize,
    seeds: Sequence[int],
    variants: Sequence[LoopVariant],
    params: Params,
    directory: Path,
    report: Report | None = None,
) -> LoopReport:
    """Simulate each variant with each seed, and reuse runs in ``directory`` that have the same inputs and code.

    ``report`` is called with the name of a variant and the fraction of the runs that are finished.
    """
    runs: dict[str, list[LoopRun]] = {variant.name: [] for variant in variants}
    total, done = len(seeds) * len(variants), 0
    for seed in seeds:
        start = None
        for variant in variants:
            if report:
                report(variant.name, done / total)
            path = directory / f"{_key(size, seed, variant, params)}.json"
            run = _read(path)
            if run is None:
                start = start or make_start(size, seed, params)
                run = simulate_days(start, variant, params)
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(path, msgspec.json.encode(run))
            runs[variant.name].append(run)
            done += 1
    return LoopReport(size, list(seeds), runs)


def summarize(report: LoopReport, measures: Sequence[str]) -> list[list[str]]:
    """Return a table row for each variant: its name, then each measure with half the width of its interval."""
    return [[name, *(format_metric(report.mean(name, measure)) for measure in measures)] for name in report.runs]


def format_metric(metric: Metric, *, signed: bool = False) -> str:
    """Return a value with half the width of its interval, as in ``0.615 ± 0.004``."""
    text = f"{metric.value:+.3f}" if signed else f"{metric.value:.3f}"
    return text if metric.high is None else f"{text} ± {metric.high - metric.value:.3f}"


def restore_run(plain: Any) -> LoopRun:
    """Return the run decoded from JSON values; null stands for a day without a value.

    Raises :class:`msgspec.ValidationError` if ``plain`` does not describe a run.
    """
    run = msgspec.convert(plain, _StoredRun)
    days, groups = (
        {name: [float("nan") if value is None else value for value in values] for name, values in part.items()}
        for part in (run.days, run.groups)
    )
    return LoopRun(run.variant, run.seed, days, groups, run.data)


class _StoredRun(msgspec.Struct, frozen=True):
    variant: str
    seed: int
    days: dict[str, list[float | None]]
    groups: dict[str, list[float | None]]
    data: str = ""


def _read(path: Path) -> LoopRun | None:
    """Return the stored run at ``path``; None if the file is missing or damaged."""
    try:
        return restore_run(msgspec.json.decode(path.read_bytes()))
    except (OSError, msgspec.MsgspecError):
        return None


def _key(size: WorldSize, seed: int, variant: LoopVariant, params: Params) -> str:
    digest = hashlib.sha256(_hash_code().encode())
    exploration = variant.exploration
    shown: Mapping[str, object] = {
        "exploration": [exploration.epsilon, exploration.slots, exploration.candidates],
        "diversity": variant.diversity,
        "parameters": dict(variant.parameters),
    }
    digest.update(msgspec.json.encode((size, seed, variant.name, shown, params.as_dict())))
    return digest.hexdigest()[:32]


@cache
def _hash_code() -> str:
    digest = hashlib.sha256()
    paths = [Path(__file__).parent.glob("loop_*.py"), *(_LIBRARY.glob(pattern) for pattern in _CODE)]
    for path in chain.from_iterable(map(sorted, paths)):
        digest.update(path.read_bytes())
    return digest.hexdigest()
