"""Lists of users without a rating: what the age of the popularity and its prior cost, in the replay of MovieLens 100K.

The backtest retrains every ten days, and the running baseline learns from each event. Before the first rating of a
user only popularity ranks, so the difference between both is the age of the counts and the prior on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks import movielens
from benchmarks.registry import BenchmarkResult, at_least, benchmark
from marquee.backtest.backtest_plan import BacktestPlan, make_blocks
from marquee.backtest.event_stream import EventStream
from marquee.data.interactions import WeightedInteractions
from marquee.models.popularity import fit_popularity
from marquee.scoring.topk import top_n
from marquee.training.tuning_cuts import take

_DAY = 86_400_000_000
Floats = NDArray[np.float64]


@benchmark("new_users_daily_gain")
def new_users() -> Iterator[BenchmarkResult]:
    """Measure the NDCG@10 of users' first list, with popularity of each cut, of each day and of each event."""
    stream = EventStream.from_dataset(movielens.load().dataset)
    cuts = np.array([block.first for block in make_blocks(BacktestPlan(models=()), stream)])
    start = stream.times[cuts[0]]
    is_first = stream.is_relevant & (stream.count_known_ratings() == 0) & (np.arange(len(stream)) >= cuts[0])

    def day(row: int) -> int:
        begun = start + (stream.times[row] - start) // _DAY * _DAY
        return max(int(np.searchsorted(stream.times, begun)), int(cuts[0]))

    ages: dict[str, Callable[[int], int]] = {
        "each cut": lambda row: int(cuts[np.searchsorted(cuts, row, side="right") - 1]),
        "each day": day,
        "each event": lambda row: row,
    }
    rows = np.flatnonzero(is_first).tolist()
    ndcg = {
        (name, prior): _measure(stream, rows, trained, prior)
        for name, trained in ages.items()
        for prior in (movielens.PARAMS.popularity.prior_likes, 0.0)
    }
    prior = movielens.PARAMS.popularity.prior_likes
    gain = ndcg["each day", prior] - ndcg["each cut", prior]
    error = float(1.96 * gain.std() / np.sqrt(len(gain)))
    mean = float(gain.mean())
    reference = f"{len(rows)} first lists; NDCG@10 by age of the counts, with the prior and without: " + ", ".join(
        f"{name} {ndcg[name, prior].mean():.3f} and {ndcg[name, 0.0].mean():.3f}" for name in ages
    )
    interval = (mean - error, mean + error)
    yield at_least("new_users_daily_gain", mean, "NDCG@10", 0, reference=reference, interval=interval)


def _measure(stream: EventStream, rows: list[int], trained: Callable[[int], int], prior: float) -> Floats:
    """Return the discount of the movie of each event in the popular list as of the event ``trained(row)``."""
    everything = WeightedInteractions.from_dataset(stream.dataset)
    params = msgspec.structs.replace(movielens.PARAMS.popularity, prior_likes=prior)

    @cache
    def popular(until: int) -> NDArray[np.int64]:
        known = take(everything, everything.times < stream.times[until])
        scores = fit_popularity(known, stream.dataset.n_items, params).recent.astype(np.float32)
        best: NDArray[np.int64] = top_n(scores, 10, np.empty(0, np.int64)).astype(np.int64)
        return best

    found = np.zeros(len(rows))
    for number, row in enumerate(rows):
        position = np.flatnonzero(popular(trained(row)) == stream.items[row])
        found[number] = 1 / np.log2(position[0] + 2) if len(position) else 0.0
    return found
