"""Results of shards: what the workers compute of their users adds up to what one process computes of all."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from tests.support.synthetic_data import SECOND, blocks, frame
from tests.training.runs import PARAMS
from tests.training.shard_lists import make_shards

from marquee.data import splits
from marquee.data.dataset import Dataset
from marquee.data.splits import Split
from marquee.errors import SettingsError, TooFewRatings
from marquee.evaluation import group_fairness, offline
from marquee.evaluation.paired_test import NDCG, RMSE
from marquee.models.ease import EaseParams
from marquee.registry.artifact import verify_artifact, write_artifact
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.user_store import BLOCKS, INDEX, UserStore, write_users
from marquee.training.cluster import item_models
from marquee.training.cluster.checked_shards import LAST, find_split_time
from marquee.training.cluster.item_models import fit_item_model, sample_users
from marquee.training.cluster.shard_evaluation import BIAS_ONLY, POPULARITY, ItemModel, measure_shard
from marquee.training.cluster.shard_results import ShardResults
from marquee.training.cluster.spark_session import SparkParams, sum_partitions
from marquee.training.cluster.user_shards import Catalog, StagedUsers, Staging, attach_users, digest_shards
from marquee.training.params import Params
from marquee.training.train_model import train_model

NOW = datetime(2026, 11, 30, tzinfo=UTC)
EASE = msgspec.convert(PARAMS.rankers["ease"], EaseParams)


class Cluster(NamedTuple):
    """A dataset, its shards, and the item side of a model of the ratings before the split time."""

    dataset: Dataset
    shards: Any  # A ShardList in place of an RDD.
    catalog: Catalog
    staging: Staging
    split: Split
    cut: int
    params: Params
    items: ItemModel


def _fit(shards: Any, catalog: Catalog, cut: int, params: Params) -> ItemModel:
    return fit_item_model(shards, catalog, cut, params, {}, {}, lambda step, done: None)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """100 users of four blocks in three shards, with watch sessions."""
    sessions = frame(*((f"b0u{n:02}", f"b1+{n % 12:04}", 40.0, n * 7 * SECOND) for n in range(20)))
    dataset = Dataset.from_frames(blocks(), sessions, 1.0, 5.0)
    shards, catalog, staging = make_shards(dataset, tmp_path_factory.mktemp("objects"))
    params = msgspec.structs.replace(PARAMS, spark=SparkParams("local[1]", 3, 7, 20))
    split = splits.temporal_holdout(dataset, params.holdout_fraction)
    cut = int(split.test.times.min())
    items = _fit(shards, catalog, cut, params)
    return Cluster(dataset, shards, catalog, staging, split, cut, params, items)


def _measure(cluster: Cluster, serving: tuple[str, str] | None = None) -> ShardResults:
    measure = partial(measure_shard, cluster.catalog, cluster.cut, cluster.items, 200, serving)
    totals = sum_partitions(cluster.shards.map(measure))
    return ShardResults(totals, cluster.params.evaluation, 1, "data")


def test_find_split_time_equals_that_of_one_process(cluster: Cluster) -> None:
    """The holdout is the same, so the metrics of both engines can be compared."""
    assert find_split_time(cluster.shards, cluster.params.holdout_fraction) == cluster.cut


def test_find_split_time_equal_times_is_refused(tmp_path: Path) -> None:
    """Ratings of one moment cannot be split, and the error says so."""
    rows = frame(*((f"u{n}", f"m+{n}", 3.0, SECOND) for n in range(9)))
    shards, *_ = make_shards(Dataset.from_frames(rows, frame(), 1.0, 5.0), tmp_path)
    with pytest.raises(TooFewRatings, match="9 ratings cannot be split by time"):
        find_split_time(shards, 0.1)


def test_ranking_of_shards_equals_that_of_one_process(cluster: Cluster) -> None:
    """The Gram products of all shards add up to those of all users, and give the same scores."""
    whole = train_model(cluster.split.train, msgspec.structs.replace(cluster.params, trainer="surprise_svd"))
    model = cluster.items.model
    np.testing.assert_allclose(model.popularity, whole.popularity, rtol=1e-6)
    scores = [m.rank_history @ m.rank_items.T for m in (model, whole)]
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-4 * np.abs(scores[1]).max())


def test_ranking_beyond_the_dense_limit_is_refused(cluster: Cluster) -> None:
    """The error names the parameter and the memory that the catalog needs."""
    section = msgspec.structs.replace(EASE, dense_gb=1e-9)
    with pytest.raises(SettingsError, match=r"needs rankers\.ease\.dense_gb"):
        item_models.fit_ranking(cluster.shards, cluster.catalog, LAST, None, section, 0)  # type: ignore[arg-type]


def test_rating_model_does_not_depend_on_the_shards(cluster: Cluster, tmp_path: Path) -> None:
    """One shard and three give the same predictions, up to rounding."""
    shards, catalog, _ = make_shards(cluster.dataset, tmp_path, shards=1)
    whole = attach_users(_fit(shards, catalog, cluster.cut, cluster.params).model, cluster.split.train)
    parts = attach_users(cluster.items.model, cluster.split.train)
    rated = [m.item_biases + m.user_vectors @ m.item_vectors.T + m.user_biases[:, None] for m in (whole, parts)]
    np.testing.assert_allclose(rated[0], rated[1], atol=0.02)


def test_rating_model_learns_what_biases_cannot(cluster: Cluster) -> None:
    """Each block likes its own items, which only factors can tell."""
    evaluation = _measure(cluster).evaluate("newest 10%")
    rmse = {name: metrics["rmse"].value for name, metrics in evaluation.metrics.items() if "rmse" in metrics}
    assert rmse["model"] < 0.6 * rmse[BIAS_ONLY]


def test_evaluation_of_shards_equals_that_of_one_process(cluster: Cluster) -> None:
    """Metrics, group metrics and intervals of ratings are those of the local evaluation of the same model."""
    model = attach_users(cluster.items.model, cluster.split.train)
    local = offline.evaluate(model, cluster.split, cluster.params.evaluation, 1, "data")
    results = _measure(cluster)
    found = results.evaluate(local.split)
    for candidate in ("model", POPULARITY):
        for name, metric in local.metrics[candidate].items():
            assert found.metrics[candidate][name].value == pytest.approx(metric.value, rel=1e-6), (candidate, name)
    bias = [e.metrics[BIAS_ONLY]["rmse"].value for e in (found, local)]
    assert bias[0] == pytest.approx(bias[1], rel=0.02)  # It stops after fewer rounds.
    counts = ("ratings", "users", "known_users", "ranked_users", "prediction_intervals")
    assert [getattr(found, name) for name in counts] == [getattr(local, name) for name in counts]
    groups = group_fairness.evaluate_groups(
        model, cluster.split, {}, cluster.params.fairness, cluster.params.evaluation, 1, "data"
    )
    own = results.fairness(cluster.params.fairness)
    assert {kind: sorted(by) for kind, by in own.groups.items()} == {k: sorted(by) for k, by in groups.groups.items()}
    for kind, by_group in groups.groups.items():
        for group, expected in by_group.items():
            assert own.groups[kind][group].rmse.value == pytest.approx(expected.rmse.value, rel=1e-6)
            assert own.groups[kind][group].users == expected.users


def test_comparison_of_shards_finds_the_better_model(cluster: Cluster) -> None:
    """The paired tests decide as the local ones: factors are better than biases, and the ranking than popularity."""
    results, test = _measure(cluster), cluster.params.release_policy
    rmse, ndcg = results.compare(RMSE, BIAS_ONLY, test), results.compare(NDCG, POPULARITY, test)
    assert (rmse.verdict, ndcg.verdict) == ("better", "better")
    assert rmse.low < rmse.difference < rmse.high < 0 < ndcg.low < ndcg.difference < ndcg.high


def test_users_of_shards_equal_those_of_one_process(cluster: Cluster, tmp_path: Path) -> None:
    """The joined blocks are bit for bit the files that one process writes, and the artifact passes its checks."""
    model = cluster.items.model
    users = StagedUsers(cluster.shards, cluster.catalog, cluster.staging, model)
    for name in ("joined", "whole"):
        (tmp_path / name).mkdir()
    buckets = users.write(tmp_path / "joined")
    assert write_users(attach_users(model, cluster.dataset), tmp_path / "whole") == buckets
    for file in (BLOCKS, INDEX):
        assert (tmp_path / "joined" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    store = FileStore(tmp_path / "objects")
    version = write_artifact(store, model, users=users, trained_through=NOW)
    manifest = verify_artifact(store, version)
    assert manifest.n_users == cluster.dataset.n_users
    record = UserStore(store, manifest).read("b0u00")
    assert record is not None
    assert len(record.items) == (cluster.dataset.ratings.users == 0).sum() + 1


def test_comparison_with_itself_is_equal(cluster: Cluster, tmp_path: Path) -> None:
    """The workers read the serving artifact: a model compared with itself is no different."""
    store = FileStore(tmp_path)
    model = attach_users(cluster.items.model, cluster.split.train)
    version = write_artifact(store, model, trained_through=NOW)
    results, test = _measure(cluster, (tmp_path.as_uri(), version)), cluster.params.release_policy
    found = [results.compare(metric, "serving", test) for metric in (RMSE, NDCG)]
    found += results.compare_fairness("serving", test)
    assert {c.verdict for c in found} <= {"no different", "too few users"}
    assert max(abs(c.difference) for c in found if c.verdict == "no different") < 1e-4


def test_sample_of_all_users_equals_the_dataset(cluster: Cluster) -> None:
    """While all ratings fit, parameters are chosen on the very data that the local engine uses."""
    sample = sample_users(cluster.shards, cluster.catalog, cluster.cut, 100_000)
    train = cluster.split.train
    assert (
        sample.sha256()
        == Dataset(train.user_ids, train.movie_ids, train.ratings, train.watch_sessions, 1.0, 5.0).sha256()
    )
    few = sample_users(cluster.shards, cluster.catalog, cluster.cut, 300)
    assert 100 < len(few.ratings) <= 302


def test_digest_of_shards_changes_with_the_data(cluster: Cluster, tmp_path: Path) -> None:
    """It depends on the data, and not on the order in which rows arrive."""
    again, catalog, _ = make_shards(cluster.dataset, tmp_path / "same")
    other, _, _ = make_shards(cluster.split.train, tmp_path / "other")
    digest = digest_shards(cluster.shards, cluster.catalog)
    assert digest_shards(again, catalog) == digest != digest_shards(other, catalog)
