"""Baselines that learn from each event: running biases, running popularity and an online factor model."""

from __future__ import annotations

import time
from collections import defaultdict
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from marquee.backtest.engine_replay import NOT_RELEVANT, SHOWN, Arrays
from marquee.backtest.event_stream import EventStream
from marquee.models.biases import SHRINKAGE
from marquee.models.popularity import PopularityParams
from marquee.scoring.interaction_weights import interaction_weight
from marquee.scoring.topk import top_n

BIASES, POPULARITY, RIVER = "running biases", "running popularity", "river BiasedMF"
_MICROSECONDS_PER_DAY = 86_400_000_000
# Limit of the newest weight, at which all weights are rescaled to stay finite.
_MAX_GROWTH = 1e20
# Mean of a rating scale before the first rating, between its ends.
_FIRST_GUESS = 0.5


def has_river() -> bool:
    """Return True if river, a development dependency, is installed."""
    return find_spec("river") is not None


class _RatingModel(Protocol):
    """Model that predicts a rating and then learns it."""

    def predict(self, user: int, item: int) -> float:
        """Return the predicted rating, not clipped."""

    def learn(self, user: int, item: int, rating: float) -> None:
        """Learn one rating."""


class RunningBiases:
    """Mean + user bias + item bias, each a shrunken mean of residuals that is updated with each rating."""

    def __init__(self, first_guess: float, shrinkage: float = SHRINKAGE) -> None:
        self._first_guess, self._shrinkage = first_guess, shrinkage
        self._sum, self._n = 0.0, 0
        self._users: defaultdict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])  # sum of residuals, number
        self._items: defaultdict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])

    @property
    def mean(self) -> float:
        """Mean of the ratings so far."""
        return self._sum / self._n if self._n else self._first_guess

    def predict(self, user: int, item: int) -> float:
        """Return the predicted rating, not clipped."""
        return self.mean + self._bias(self._users, user) + self._bias(self._items, item)

    def learn(self, user: int, item: int, rating: float) -> None:
        """Update the mean and both biases; each learns the residual about the other."""
        self._sum += rating
        self._n += 1
        residual = rating - self.mean
        user_bias, item_bias = self._bias(self._users, user), self._bias(self._items, item)
        for sums, row, other in ((self._users, user, item_bias), (self._items, item, user_bias)):
            sums[row][0] += residual - other
            sums[row][1] += 1

    def _bias(self, sums: defaultdict[int, list[float]], row: int) -> float:
        if row not in sums:
            return 0.0
        total, count = sums[row]
        return total / (count + self._shrinkage)


class _River:
    """river's biased matrix factorization by stochastic gradient descent, with its defaults."""

    def __init__(self, seed: int) -> None:
        from river import reco

        self._model: Any = reco.BiasedMF(seed=seed)

    def predict(self, user: int, item: int) -> float:
        return float(self._model.predict_one(user=user, item=item))

    def learn(self, user: int, item: int, rating: float) -> None:
        self._model.learn_one(user=user, item=item, y=rating)


class RunningPopularity:
    """Decayed sums of interaction weights by item, updated with each event."""

    def __init__(self, n_items: int, half_life_days: float) -> None:
        self._scores = np.zeros(n_items)
        self._half_life = half_life_days * _MICROSECONDS_PER_DAY
        self._origin: int | None = None

    @property
    def scores(self) -> NDArray[np.float64]:
        """Popularity of each item up to a common factor, [n_items]."""
        return self._scores

    def learn(self, item: int, weight: float, moment: int) -> None:
        """Add an interaction at ``moment`` (microseconds). Instead of a decay, later ones get larger weights."""
        if self._origin is None:
            self._origin = moment
        growth = 2.0 ** min((moment - self._origin) / self._half_life, 1000)
        self._scores[item] += weight * growth
        if growth > _MAX_GROWTH:
            self._scores /= growth
            self._origin = moment


def run_rating_model(name: str, stream: EventStream, first: int, last: int, seed: int) -> Arrays:
    """Learn the events before ``first``, then predict each rating before learning it.

    Returns ``rows`` [m] and ``predicted`` [m].
    """
    started, data = time.process_time(), stream.dataset
    first_guess = data.rating_min + _FIRST_GUESS * (data.rating_max - data.rating_min)
    model: _RatingModel = _River(seed) if name == RIVER else RunningBiases(first_guess)
    rows = np.flatnonzero(stream.is_rating[:last])
    predicted = np.full(len(rows), np.nan, np.float32)
    for number, row in enumerate(rows.tolist()):
        user, item = int(stream.users[row]), int(stream.items[row])
        if row >= first:
            predicted[number] = min(max(model.predict(user, item), data.rating_min), data.rating_max)
        model.learn(user, item, float(stream.values[row]))
    is_tested = rows >= first
    cpu_s = np.array([time.process_time() - started, 0.0])
    return {"rows": rows[is_tested], "predicted": predicted[is_tested], "cpu_s": cpu_s}


def run_popularity(stream: EventStream, first: int, last: int, list_length: int, params: PopularityParams) -> Arrays:
    """Make the list of popular unseen movies before each relevant event.

    Returns ``rows`` [m], ``position`` [m] and ``shown`` [n_items].
    """
    started, data = time.process_time(), stream.dataset
    model = RunningPopularity(data.n_items, params.half_life_days)
    seen: defaultdict[int, list[int]] = defaultdict(list)
    position = np.full(last, NOT_RELEVANT, np.int16)
    shown = np.zeros(data.n_items, np.int64)
    for row in range(last):
        user, item, value = int(stream.users[row]), int(stream.items[row]), float(stream.values[row])
        if row >= first and stream.is_relevant[row]:
            best = top_n(model.scores.astype(np.float32), list_length, np.array(seen[user], np.int64)).tolist()
            position[row] = best.index(item) + 1 if item in best else 0
            shown[best[:SHOWN]] += 1
        rating, minute = (value, None) if stream.is_rating[row] else (None, int(value))
        weight = interaction_weight(rating, minute, data.rating_min, data.rating_max)
        model.learn(item, weight, int(stream.times[row]))
        seen[user].append(item)
    cpu_s = np.array([time.process_time() - started, 0.0])
    return {"rows": np.arange(first, last), "position": position[first:], "shown": shown, "cpu_s": cpu_s}
