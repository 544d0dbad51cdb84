"""Tuned parameters of a retraining compared with fixed ones, on the evaluated slice of a synthetic data set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.planted_world import World, planted_dataset
from marquee.data.interactions import WeightedInteractions, like_threshold
from marquee.data.splits import Split, temporal_holdout
from marquee.models.ease import EaseParams
from marquee.models.item_regression import Float32
from marquee.training.params import Params
from marquee.training.tuning import (
    DROPOUT,
    GRID,
    HALF_LIFE,
    PRIOR,
    RIDGE,
    TREND,
    WEIGHT,
    TuningChoice,
    choose_parameters,
)
from marquee.training.tuning_cuts import Cut, TuningParams, take

Floats = NDArray[np.float64]

WORLDS = {
    "no trends": World(6000, 800, 220_000, clusters=40, trend=0.0),
    "strong trends": World(6000, 800, 220_000, clusters=40, trend=12.0),
    "sparse users": World(40_000, 1500, 200_000, clusters=100, taste=0.4),
}
_FIXED = {
    TREND: (0.0, 0.5, 1.0),
    WEIGHT: (0.0, 0.25, 1.0, 5.0, max(GRID[WEIGHT])),
    HALF_LIFE: (3.0, 14.0, 90.0, 3650.0),
    PRIOR: (1000.0,),
}
_REGRESSIONS = ((30.0, 0.3), (300.0, 0.0), (300.0, 0.3), (1000.0, 0.3), (3000.0, 0.3))
_EVERYTHING = TuningParams(0, 1, max_movies=10**9, max_ratings=10**9, max_users=10**9)


class Comparison(msgspec.Struct, frozen=True):
    """NDCG@10 of each user of the evaluated slice with the chosen, the configured and the best fixed parameters.

    ``popular`` is that of the list of recent popularity, with the chosen half-life.
    """

    choice: TuningChoice
    chosen: Floats
    configured: Floats
    best_fixed: Floats
    popular: Floats

    @property
    def ratio(self) -> float:
        """Mean of the chosen parameters, divided by that of the best fixed ones."""
        return float(self.chosen.mean() / self.best_fixed.mean())


def compare(world: World, seed: int = 0, *, with_fixed: bool = True) -> Comparison:
    """Choose parameters on the older nine tenths of the ratings, and compare them on the newest tenth.

    The best of the fixed ones is selected on the evaluated slice itself, which favors it. Without ``with_fixed`` only
    the configured ones are compared.
    """
    params = Params.read(Path("params.yaml"))
    ease = msgspec.convert(params.rankers["ease"], EaseParams)
    split = temporal_holdout(planted_dataset(world, seed), params.holdout_fraction)
    choice = choose_parameters(
        split.train, ease, params.popularity, params.tuning, params.holdout_fraction, params.seed
    )
    configured = choice.configured
    chosen = choice.chosen or configured
    slice_ = _evaluated_slice(split, sorted({*_FIXED[HALF_LIFE], configured[HALF_LIFE], chosen[HALF_LIFE]}))
    scores = _Scores(slice_, ease.rank - 1)
    fixed = max((scores.measure(v) for v in (*(_fixed_parameters() if with_fixed else ()), configured)), key=np.mean)
    popular = {**chosen, TREND: 0.0, WEIGHT: max(GRID[WEIGHT])}
    values = [scores.measure(v) for v in (chosen, configured, popular)]
    return Comparison(choice, values[0], values[1], fixed, values[2])


class _Scores:
    """Scores of the evaluated slice, fitted once for each penalty."""

    def __init__(self, slice_: Cut, rank: int) -> None:
        self._slice, self._rank = slice_, rank
        self._fitted: dict[tuple[float, float], Float32] = {}

    def measure(self, values: dict[str, float]) -> Floats:
        penalty = values[RIDGE], values[DROPOUT]
        if penalty not in self._fitted:
            self._fitted[penalty] = self._slice.score(*penalty, self._rank, 0)
        popularity = self._slice.popularity(values[HALF_LIFE], values[PRIOR])
        return self._slice.measure(self._fitted[penalty], popularity, values[TREND], values[WEIGHT])


def _fixed_parameters() -> Iterator[dict[str, float]]:
    for ridge, dropout in _REGRESSIONS:
        for values in product(*_FIXED.values()):
            yield {RIDGE: ridge, DROPOUT: dropout, **dict(zip(_FIXED, values, strict=True))}


def _evaluated_slice(split: Split, half_lives: list[float]) -> Cut:
    known = WeightedInteractions.from_dataset(split.train)
    later = WeightedInteractions.from_dataset(replace(split.train, ratings=split.test))
    liked = take(later, later.ratings >= like_threshold(split.train))
    return Cut(known, liked, (split.train.n_users, split.train.n_items), half_lives, _EVERYTHING, 0)
