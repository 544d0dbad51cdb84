"""Evaluation on the cluster: each shard measures its own users, and sums reach the driver.

The metrics are those of :mod:`marquee.evaluation.offline`. The intervals come from a Poisson bootstrap over users
(:mod:`marquee.evaluation.bootstrap`), because its sums add up over shards; the local engine draws multinomial
weights, which have the same variance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from marquee.data.splits import Split
from marquee.evaluation import exposure, movie_groups, offline
from marquee.evaluation.baselines import Candidate, model_candidate, popularity_baseline
from marquee.evaluation.bootstrap import draw_poisson_weights
from marquee.evaluation.group_fairness import label_test_users
from marquee.evaluation.user_groups import split_members
from marquee.models.trainer_port import Floats
from marquee.registry.trained_model import TrainedModel
from marquee.training.cluster.shard_factorization import fit_user_biases
from marquee.training.cluster.spark_session import Totals
from marquee.training.cluster.user_shards import Catalog, Shard, attach_users

MODEL, POPULARITY, BIAS_ONLY = "model", "popularity", "bias_only"
GINI_RESAMPLES = 100
"""Resamples of the exposure of all items, which is an array [resamples, n_items]."""
_SAMPLED_ERRORS = 100_000
"""Errors on which the prediction intervals are calibrated, of all shards."""
_USER_CHUNK = 1_000


@dataclass(frozen=True, slots=True)
class ItemModel:
    """Model without users, and the biases of the baseline; ``rated`` [n_items] are its numbers of ratings."""

    model: TrainedModel
    bias_only: Floats
    rated: Floats


class Measured(NamedTuple):
    """Numbers of each test user by name, [n_users], and the lists of each candidate, [n_ranked, 10]."""

    columns: dict[str, Floats]
    lists: dict[str, np.ndarray]
    ranked: np.ndarray


def measure_shard(
    catalog: Catalog, cut: int, items: ItemModel, resamples: int, serving: tuple[str, str] | None, shard: Shard
) -> Totals:
    """Return the sums of the shard's users in total and in each resample.

    ``serving`` is the URL of the object store and the version of the artifact to compare with.
    """
    split = shard.split(catalog, cut)
    users = np.unique(split.test.users)
    if not len(users):
        return {}
    candidates = _candidates(items, split, serving)
    measured = _measure(candidates, split, users, items.rated)
    by_id = {user_id: shard.attributes[row] for row, user_id in enumerate(shard.user_ids)}
    groups = {
        (kind, name): rows
        for kind, labels in label_test_users(split, users, by_id).items()
        for name, rows in split_members(labels)
    }
    totals = _resample(measured, [shard.user_ids[user] for user in users], groups, resamples, len(catalog.movie_ids))
    known = np.isin(users, split.train.ratings.users)
    counts = {"users": len(users), "known": int(known.sum()), "ranked_users": len(measured.ranked)}
    counts |= {f"users/{kind}/{name}": int(rows.sum()) for (kind, name), rows in groups.items()}
    counts |= {f"ranked/{kind}/{name}": int(rows[measured.ranked].sum()) for (kind, name), rows in groups.items()}
    return {**totals, **counts, **_sample_errors(candidates[0], split, catalog, shard)}


def _candidates(items: ItemModel, split: Split, serving: tuple[str, str] | None) -> list[Candidate]:
    model = attach_users(items.model, split.train)
    if serving is not None:
        from marquee.evaluation.artifact_candidate import load_candidate
        from marquee.registry.object_store.connect import connect

        return [model_candidate(model), load_candidate(connect(serving[0]), serving[1], split.train)]
    user_biases = fit_user_biases(split.train, model.mean, items.bias_only)

    def rate(users: np.ndarray, rows: np.ndarray) -> Floats:
        ratings: Floats = np.clip(
            model.mean + user_biases[users] + items.bias_only[rows], model.rating_min, model.rating_max
        )
        return ratings

    return [model_candidate(model), popularity_baseline(model), Candidate(BIAS_ONLY, rate)]


def _measure(candidates: list[Candidate], split: Split, users: np.ndarray, rated: Floats) -> Measured:
    columns: dict[str, Floats] = {}
    lists: dict[str, np.ndarray] = {}
    ranked = np.empty(0, np.int64)
    groups = movie_groups.group_by_popularity(rated)
    tail = groups.parts[groups.names.index(movie_groups.TAIL)]
    discounts = exposure.position_discounts(exposure.LENGTH)

    def scatter(values: Floats) -> Floats:
        of_users = np.zeros(len(users))
        of_users[ranked] = values
        return of_users

    for candidate in candidates:
        if candidate.rate:
            squared, absolute, columns["ratings"] = offline.errors_by_user(candidate, split.test)
            columns |= {f"{candidate.name}/squared": squared, f"{candidate.name}/absolute": absolute}
        if candidate.score:
            ranking = offline.rank(candidate, split)
            ranked = np.searchsorted(users, ranking.users)
            lists[candidate.name] = ranking.recommended[:, : exposure.LENGTH]
            for name, values in offline.ranking_metrics(ranking).items():
                columns[f"{candidate.name}/{name}"] = scatter(values)
            own = lists[candidate.name]
            columns[f"{candidate.name}/tail"] = scatter(tail[own] @ discounts[: own.shape[1]])
    columns["ranked"] = scatter(np.ones(len(ranked)))
    return Measured(columns, lists, ranked)


def _resample(
    measured: Measured,
    user_ids: list[str],
    groups: dict[tuple[str, str], np.ndarray],
    resamples: int,
    n_items: int,
) -> Totals:
    """Return the weighted sums of all columns, [1 + resamples] each; the first has the weight 1 for each user."""
    names = sorted(measured.columns)
    table = np.column_stack([measured.columns[name] for name in names])
    exposures = {name: _exposure_by_user(lists, n_items) for name, lists in measured.lists.items()}
    position = np.full(len(user_ids), -1)
    position[measured.ranked] = np.arange(len(measured.ranked))
    totals: dict[str, np.ndarray] = {}
    for first in range(0, len(user_ids), _USER_CHUNK):
        rows = slice(first, first + _USER_CHUNK)
        drawn = draw_poisson_weights(user_ids[rows], resamples)
        weights = np.column_stack([np.ones(len(drawn)), drawn]).T
        sums = {name: weights @ table[rows][:, k] for k, name in enumerate(names)}
        for (kind, group), members in groups.items():
            inside = members[rows]
            if inside.any():
                part = weights[:, inside] @ table[rows][inside]
                sums |= {f"{kind}/{group}/{name}": part[:, k] for k, name in enumerate(names)}
        own = position[rows]
        for name, by_user in exposures.items():
            lists = by_user[own[own >= 0]]
            sums[f"{name}/exposure"] = np.asarray(weights[: 1 + GINI_RESAMPLES, own >= 0] @ lists)
        for name, value in sums.items():
            totals[name] = totals[name] + value if name in totals else value
    return totals


def _exposure_by_user(lists: np.ndarray, n_items: int) -> csr_array:
    n, length = lists.shape
    cells = np.tile(exposure.position_discounts(length), n)
    return csr_array((cells, lists.ravel(), np.arange(n + 1) * length), shape=(n, n_items))


def _sample_errors(candidate: Candidate, split: Split, catalog: Catalog, shard: Shard) -> Totals:
    errors, known = offline.residuals(candidate, split)
    count = -(-_SAMPLED_ERRORS // catalog.shards)
    if len(errors) > count:
        chosen = np.random.default_rng(shard.number).choice(len(errors), count, replace=False)
        errors, known = errors[chosen], known[chosen]
    return {"errors": [errors], "known_ratings": [known]}
