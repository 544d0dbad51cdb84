"""Similar movies against cosine and co-counts, and reasons against nearest neighbors and chance, on MovieLens 100K."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.base_dataset import MOVIELENS
from benchmarks.movielens import PARAMS, fit_ranker
from benchmarks.registry import BenchmarkResult, at_least, benchmark
from marquee.data import interaction_frames, sources
from marquee.data.dataset import Dataset
from marquee.data.interactions import WeightedInteractions
from marquee.data.splits import Split, temporal_holdout
from marquee.evaluation.bootstrap import percentile_interval, resample_ratios
from marquee.models.content import complete_ranking
from marquee.models.ranker_port import RankingFactors
from marquee.scoring.item_similarity import GAIN_POWER, LENGTH_POWER, ItemSimilarity

Floats = NDArray[np.float64]
GAIN_POWERS, LENGTH_POWERS = (2.0, 3.0, 4.0), (0.0, 0.25, 0.5)
TOP, LIST, DELETED, RESAMPLES, SEED = 10, 20, 3, 1_000, 1


class Fitted(NamedTuple):
    """The ranker fitted on the training part, its history [n_users, n_items], and the baselines [n_items, n_items].

    ``counts``: users who have seen both movies; ``cosine``: of the movies' users.
    """

    split: Split
    factors: RankingFactors
    history: Floats
    counts: Floats
    cosine: Floats


@cache
def _fit_once() -> Fitted:
    """Fit for both benchmarks."""
    return _fit(_read_split())


def _fit(split: Split) -> Fitted:
    with threadpool_limits(1):
        interactions, factors = fit_ranker(split.train, PARAMS.ranker)
    features, counts = split.train.content_features, np.bincount(interactions.items, minlength=split.train.n_items)
    if features is not None:  # As training does.
        factors = complete_ranking(factors, features, counts.astype(np.float64))
    history = _matrix(interactions, split.train)
    return Fitted(split, factors, history, *_co_counts(history))


def _read_split() -> Split:
    """Return MovieLens with its newest tenth held out, by time."""
    base = sources.read_base(MOVIELENS, datetime.now(UTC))
    low, high = PARAMS.data.rating_min, PARAMS.data.base_rating_max
    dataset = Dataset.from_frames(
        base.ratings, interaction_frames.empty_interactions(), low, high, base.side_information
    )
    return temporal_holdout(dataset, 0.1)


def _matrix(interactions: WeightedInteractions, train: Dataset) -> Floats:
    history = np.zeros((train.n_users, train.n_items))
    history[interactions.users, interactions.items] = interactions.weights
    return history


def _co_counts(history: Floats) -> tuple[Floats, Floats]:
    """Return the number of users who have seen both movies, and the cosine of the movies' users."""
    seen = (history > 0).astype(float)
    counts = seen.T @ seen
    lengths = np.sqrt(np.maximum(np.diag(counts), 1))
    cosine = counts / lengths / lengths[:, None]
    np.fill_diagonal(counts, 0)
    np.fill_diagonal(cosine, 0)
    return counts, cosine


def _similarity(factors: RankingFactors, powers: tuple[float, float] = (GAIN_POWER, LENGTH_POWER)) -> Floats:
    """Return the similarity by which ``GET /similar`` ranks, [n_items, n_items]; row j is for movie j."""
    items, history = factors.rank_items.astype(np.float32), factors.rank_history.astype(np.float32)
    trend = None if factors.trend is None else factors.trend.astype(np.float32)
    similarity = ItemSimilarity(items, history, factors.popularity_columns, trend, *powers)
    return np.stack([similarity.scores(row) for row in range(len(items))])


@benchmark("similar_hit10_gain")
def similar() -> Iterator[BenchmarkResult]:
    """Measure how often the next movie that a user rates is among the ten most similar to the previous one."""
    split, factors, history, counts, cosine = _fit_once()
    methods = (_similarity(factors), cosine, counts)
    hits, pairs = _count_hits(split, history > 0, methods)
    users = pairs > 0
    rates = [float(hit.sum() / pairs.sum()) for hit in hits]
    resampled = resample_ratios([hit[users] for hit in hits], pairs[users], RESAMPLES, SEED)
    gains = [percentile_interval(resampled[0] - other, 0.95) for other in resampled[1:]]
    low, high = gains[0]
    chosen, validated = _choose_powers(split)
    reference = (
        f"Recall@{TOP} of the next movie {rates[0]:.4f}; cosine {rates[1]:.4f}; co-counts {rates[2]:.4f}, paired gain "
        f"on these {rates[0] - rates[2]:+.4f} ({gains[1][0]:+.4f} to {gains[1][1]:+.4f}); {int(pairs.sum()):,} "
        f"pairs of {int(users.sum())} users in the newest tenth, 95 % intervals over users, seed {SEED}; "
        f"best of {len(GAIN_POWERS) * len(LENGTH_POWERS)} pairs of powers on the tenth before: {chosen}, "
        f"{validated:.4f}"
    )
    gain = rates[0] - rates[1]
    yield at_least("similar_hit10_gain", gain, "Recall@10", 0.0, reference=reference, interval=(low, high))


def _choose_powers(split: Split) -> tuple[tuple[float, float], float]:
    """Return the powers with the most hits in the newest ninth of the training part, and their Recall@10."""
    fitted = _fit(temporal_holdout(split.train, 1 / 9))
    grid = list(product(GAIN_POWERS, LENGTH_POWERS))
    methods = tuple(_similarity(fitted.factors, powers) for powers in grid)
    hits, pairs = _count_hits(fitted.split, fitted.history > 0, methods)
    rates = [float(hit.sum() / pairs.sum()) for hit in hits]
    best = int(np.argmax(rates))
    return grid[best], rates[best]


def _count_hits(split: Split, seen: NDArray[np.bool_], methods: tuple[Floats, ...]) -> tuple[list[Floats], Floats]:
    """Return the hits of each method and the pairs, by user; movies rated before are excluded.

    Movies of equal similarity share the places that are left for them. So a movie that is similar to none is no hit.
    """
    last: dict[int, int] = {}
    for user, item in zip(split.train.ratings.users.tolist(), split.train.ratings.items.tolist(), strict=True):
        last[user] = item
    known, n_users = seen.copy(), len(seen)
    hits, pairs = [np.zeros(n_users) for _ in methods], np.zeros(n_users)
    for user, item in zip(split.test.users.tolist(), split.test.items.tolist(), strict=True):
        if user in last and not known[user, item]:
            pairs[user] += 1
            for hit, similarity in zip(hits, methods, strict=True):
                scores = np.where(known[user], -np.inf, similarity[last[user]])
                better, equal = int((scores > scores[item]).sum()), int((scores == scores[item]).sum())
                hit[user] += min(max(TOP - better, 0) / equal, 1.0)
        last[user] = item
        known[user, item] = True
    return hits, pairs


@benchmark("reasons_deletion_ratio")
def reasons() -> Iterator[BenchmarkResult]:
    """Delete the named movies from the history, and measure the remaining share of the first movie's score."""
    split, factors, history, _, cosine = _fit_once()
    rng = np.random.default_rng(SEED)
    left = {name: np.zeros((split.train.n_users, DELETED)) for name in ("shares", "neighbors", "chance")}
    out = {name: np.zeros(split.train.n_users) for name in left}
    users = np.flatnonzero((history > 0).sum(axis=1) >= 2 * DELETED)
    for user in users.tolist():
        items = np.flatnonzero(history[user])
        scores = (history[user] @ factors.rank_history) @ factors.rank_items.T
        scores[items] = -np.inf
        first = int(scores.argmax())
        terms = history[user, items, None] * factors.rank_history[items]
        shares = terms @ factors.rank_items[first]
        orders = {
            "shares": (-shares).argsort(kind="stable"),
            "neighbors": (-cosine[first, items]).argsort(kind="stable"),
            "chance": rng.permutation(len(items)),
        }
        for name, order in orders.items():
            deleted = order[:DELETED]
            left[name][user] = 1 - np.cumsum(shares[deleted]) / scores[first]
            without = scores - terms[deleted].sum(axis=0) @ factors.rank_items.T
            out[name][user] = np.count_nonzero(without > without[first]) >= LIST
    curves = {name: left[name][users].mean(axis=0) for name in left}
    drops = [1 - left[name][users, -1] for name in ("shares", "neighbors")]
    resampled = resample_ratios([drops[0]], drops[1], RESAMPLES, SEED)[0]
    text = "; ".join(
        f"{name} {', '.join(f'{value:.3f}' for value in curve)}, out of the list {out[name][users].mean():.1%}"
        for name, curve in curves.items()
    )
    reference = (
        f"score left after 1 to {DELETED} deletions, and movies that leave the first {LIST}: {text}; {len(users)} users"
    )
    ratio = float(drops[0].sum() / drops[1].sum())
    low, high = percentile_interval(resampled, 0.95)
    yield at_least("reasons_deletion_ratio", ratio, "ratio", 1.0, reference=reference, interval=(low, high))
