"""Tuning of the ranking model's parameters on the training data, in each retraining.

Popularity terms, half-life and ridge that are best for one data set reduced the NDCG of another by a quarter. They are
therefore tuned on temporal cuts that end before the evaluated slice. The search starts from the choice of the serving
model. Its budget is counted in operations instead of time, so that equal data give equal choices.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

import msgspec
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from marquee.data.dataset import Dataset
from marquee.data.interactions import WeightedInteractions, like_threshold
from marquee.models.ease import EaseParams
from marquee.models.item_regression import Float32
from marquee.models.popularity import PopularityParams
from marquee.training.tuning_cuts import Cut, TuningParams, take

Floats = NDArray[np.float64]
Values = dict[str, float]

HALF_LIFE, PRIOR = "popularity.half_life_days", "popularity.prior_likes"
TREND, WEIGHT = "rankers.ease.trend_exponent", "rankers.ease.popularity_weight"
RIDGE, DROPOUT = "rankers.ease.ridge", "rankers.ease.dropout"
GRID: dict[str, tuple[float, ...]] = {
    TREND: (0, 0.25, 0.5, 0.75, 1, 1.25),
    # The largest makes every list the popular one, so that no choice is worse than it.
    WEIGHT: (0, 0.1, 0.25, 0.5, 1, 2, 5, 20, 1e6),
    HALF_LIFE: (3, 7, 14, 30, 90, 365, 3650),
    PRIOR: (100, 1000, 10_000),
    RIDGE: (10, 30, 100, 300, 1000, 3000),
    DROPOUT: (0, 0.1, 0.3, 0.6, 1),
}
MIN_USERS = 50
"""Minimum number of ranked users over all cuts for a choice."""
MARGIN = 1.0
"""Number of standard errors by which a candidate must be better than the incumbent."""
_ROUNDS = 3
_OPERATIONS_PER_SECOND = 2e10  # Of matrix products in one thread.
_CELLS_PER_SECOND = 3e8  # Of arrays that are scored and sorted.


class TuningChoice(msgspec.Struct, frozen=True, kw_only=True):
    """Chosen parameters by their path in params.yaml; empty if the configured ones hold.

    - ``configured``: the values of params.yaml; ``start``: those that the search began with
    - ``ndcg``: mean NDCG@10 on the cuts of ``start``, ``chosen`` and the list of recent ``popularity``
    - ``users``, ``cuts``, ``candidates``: what was compared; ``note``: the same in a sentence
    """

    configured: dict[str, float] = {}
    start: dict[str, float] = {}
    chosen: dict[str, float] = {}
    ndcg: dict[str, float] = {}
    users: int = 0
    cuts: int = 0
    candidates: int = 0
    note: str = ""


NOTHING_CHOSEN = TuningChoice()


def choose_parameters(
    dataset: Dataset,
    ease: EaseParams,
    popularity: PopularityParams,
    params: TuningParams,
    fraction: float,
    seed: int,
    previous: TuningChoice = NOTHING_CHOSEN,
) -> TuningChoice:
    """Choose the parameters on the newest slices of ``dataset``, each the ``fraction`` of its ratings.

    ``previous`` is the choice of the model that serves. It is the start if it was made with the same configured
    values, so that a change of params.yaml takes effect.
    """
    configured = _configured(ease, popularity)
    with threadpool_limits(1, user_api="blas"):  # The number of threads affects the last bits.
        return _choose(dataset, configured, ease.rank - 1, params, fraction, seed, previous)


def _choose(
    dataset: Dataset,
    configured: Values,
    rank: int,
    params: TuningParams,
    fraction: float,
    seed: int,
    previous: TuningChoice,
) -> TuningChoice:
    if not params.budget_s:
        return TuningChoice(configured=configured, note="tuning.budget_s is 0")
    is_same = all(previous.configured.get(name) == value for name, value in configured.items())
    start = {name: previous.chosen[name] for name in configured} if is_same and previous.chosen else configured
    half_lives = sorted({*GRID[HALF_LIFE], start[HALF_LIFE]})
    cuts = list(_cut(dataset, params, fraction, half_lives, seed))
    users = sum(len(cut.users) for cut in cuts)
    if users < MIN_USERS:
        return TuningChoice(
            configured=configured, note=f"{users} users with a liked movie on the cuts are too few; {MIN_USERS} needed"
        )
    search = _Search(cuts, start, rank, params.budget_s, seed)
    search.run()
    return search.to_choice(configured)


def select_section(chosen: Mapping[str, float], section: str) -> Values:
    """Return the values of ``chosen`` whose path is in ``section``, by their own names."""
    paths = {path: path.rpartition(".") for path in chosen}
    return {name: chosen[path] for path, (parent, _, name) in paths.items() if parent == section}


class _Search:
    """Coordinate search from the start, while the budget lasts."""

    def __init__(self, cuts: Sequence[Cut], start: Mapping[str, float], rank: int, budget_s: float, seed: int) -> None:
        self._cuts, self._rank, self._seed = cuts, rank, seed
        self._left_s = budget_s
        self._start = dict(start)
        self.best = dict(start)
        self.candidates = 1
        self._scores = self._fit(self.best)
        self._ndcg = self._measure(self.best, self._scores)
        self._start_ndcg = self._ndcg

    def run(self) -> None:
        """Improve the choice until a round changes nothing or the budget is spent."""
        for _ in range(_ROUNDS):
            before = dict(self.best)
            self._try_all(TREND, WEIGHT)
            self._try_all(HALF_LIFE, PRIOR)
            self._walk(RIDGE)
            self._walk(DROPOUT)
            if self.best == before:
                return

    def to_choice(self, configured: Values) -> TuningChoice:
        """Return the choice with what it was compared with."""
        popular = {**self.best, TREND: 0.0, WEIGHT: max(GRID[WEIGHT])}
        ndcg = {
            "start": float(self._start_ndcg.mean()),
            "chosen": float(self._ndcg.mean()),
            "popularity": float(self._measure(popular, self._scores).mean()),
        }
        cuts, users = len(self._cuts), len(self._ndcg)
        note = (
            f"NDCG@10 {ndcg['chosen']:.4f}, from {ndcg['start']:.4f}, recent popularity {ndcg['popularity']:.4f}: "
            f"{self.candidates} candidates, {users} users of {cuts} cuts"
        )
        return TuningChoice(
            configured=configured,
            start=self._start,
            chosen=self.best,
            ndcg=ndcg,
            users=users,
            cuts=cuts,
            candidates=self.candidates,
            note=note,
        )

    def _try_all(self, *names: str) -> None:
        """Compare all combinations of the values of ``names``; these parameters need no fit."""
        cost = sum(cut.relevant.size for cut in self._cuts) / _CELLS_PER_SECOND
        found, found_ndcg = self.best, self._ndcg
        for values in product(*(GRID[name] for name in names)):
            candidate = {**self.best, **dict(zip(names, map(float, values), strict=True))}
            if candidate == self.best:
                continue
            if not self._spend(cost):
                break
            ndcg = self._measure(candidate, self._scores)
            if ndcg.mean() > found_ndcg.mean():
                found, found_ndcg = candidate, ndcg
        if is_better(found_ndcg, self._ndcg):
            self.best, self._ndcg = found, found_ndcg

    def _walk(self, name: str) -> None:
        """Move along the values of ``name`` while the lists improve; each step needs a fit."""
        for direction in (1, -1):
            moved = False
            while (candidate := self._step(name, direction)) and self._spend(self._fit_cost()):
                scores = self._fit(candidate)
                ndcg = self._measure(candidate, scores)
                if not is_better(ndcg, self._ndcg):
                    break
                self.best, self._scores, self._ndcg, moved = candidate, scores, ndcg, True
            if moved:
                return

    def _step(self, name: str, direction: int) -> Values | None:
        beyond = [float(v) for v in GRID[name] if (v - self.best[name]) * direction > 0]
        return {**self.best, name: min(beyond, key=lambda v: abs(v - self.best[name]))} if beyond else None

    def _spend(self, seconds: float) -> bool:
        self._left_s -= seconds
        self.candidates += self._left_s >= 0
        return self._left_s >= 0

    def _fit_cost(self) -> float:
        operations = sum(
            2.0 * len(c.items) ** 3 + (self._rank + 16) * (8.0 * len(c.items) ** 2 + 200.0 * c.n_interactions)
            for c in self._cuts
        )
        return operations / _OPERATIONS_PER_SECOND

    def _fit(self, values: Values) -> list[Float32]:
        return [cut.score(values[RIDGE], values[DROPOUT], self._rank, self._seed) for cut in self._cuts]

    def _measure(self, values: Values, scores: Sequence[Float32]) -> Floats:
        return np.concatenate(
            [
                cut.measure(s, cut.popularity(values[HALF_LIFE], values[PRIOR]), values[TREND], values[WEIGHT])
                for cut, s in zip(self._cuts, scores, strict=True)
            ]
        )


def is_better(candidate: Floats, incumbent: Floats) -> bool:
    """Return True if the mean is higher by more than :data:`MARGIN` standard errors of the paired difference."""
    difference = candidate - incumbent
    return bool(difference.mean() > MARGIN * difference.std() / np.sqrt(len(difference)))


def _configured(ease: EaseParams, popularity: PopularityParams) -> Values:
    sections = {"rankers.ease": ease, "popularity": popularity}
    paths = {name: name.rpartition(".") for name in GRID}
    return {name: float(getattr(sections[section], field)) for name, (section, _, field) in paths.items()}


def _cut(
    dataset: Dataset, params: TuningParams, fraction: float, half_lives: Sequence[float], seed: int
) -> Iterator[Cut]:
    """Yield the cuts, the newest first."""
    shape = (dataset.n_users, dataset.n_items)
    for number, (before, liked) in enumerate(split_past(dataset, params.cuts, fraction), start=1):
        yield Cut(before, liked, shape, half_lives, params, seed + number)


def split_past(
    dataset: Dataset, cuts: int, fraction: float
) -> Iterator[tuple[WeightedInteractions, WeightedInteractions]]:
    """Yield, the newest cut first, the interactions before it and the likes in the slice after it.

    A slice has the ``fraction`` of the ratings. There are fewer cuts if the data have too few distinct times.
    """
    interactions = WeightedInteractions.from_dataset(dataset)
    times = dataset.ratings.times
    threshold = like_threshold(dataset)
    end = int(times[-1]) + 1 if len(times) else 0
    for number in range(1, cuts + 1):
        start = int(times[max(0, int(len(times) * (1 - number * fraction)))]) if len(times) else 0
        before = interactions.times < start
        if start >= end or not before.any() or not interactions.weights[before].any():
            return
        liked = (interactions.times >= start) & (interactions.times < end) & (interactions.ratings >= threshold)
        yield take(interactions, before), take(interactions, liked)
        end = start
