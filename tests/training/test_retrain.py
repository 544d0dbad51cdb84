"""A retraining from end to end: data, artifact, release and record of the run."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
from tests.support.synthetic_data import blocks, write_base
from tests.training.runs import PARAMS_FILE

from marquee.data.snapshot import SnapshotRequest
from marquee.db import retrain_queue, retrain_runs
from marquee.db.pool import Database
from marquee.errors import DatabaseUnavailable, TrainingDataError
from marquee.registry import release
from marquee.registry.artifact import verify_artifact
from marquee.registry.item_store import read_items
from marquee.registry.manifest import read_manifest
from marquee.registry.object_store.connect import connect
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.rollout import promote
from marquee.registry.user_store import UserStore
from marquee.training.params import Params, SnapshotParams
from marquee.training.pipeline.publish_step import RetrainResult
from marquee.training.retrain import retrain

PARAMS = Params.read(PARAMS_FILE)
AFTER_ALL_EVENTS = datetime(2100, 1, 1, tzinfo=UTC)
LIVE_TIME = datetime(2026, 2, 14, 12, 0, tzinfo=UTC)


def request(base: Path | None, **changes: object) -> SnapshotRequest:
    return replace(SnapshotRequest(AFTER_ALL_EVENTS, base, 1.0, 5.0), **changes)  # type: ignore[arg-type]


def query_rows(database: Database, query: str) -> list[tuple[object, ...]]:
    return database.read(query, deadline_ms=5_000)


def insert_ratings(database: Database, *rows: tuple[datetime, str, str, int]) -> None:
    with database.transaction() as cursor:
        cursor.execute("INSERT INTO topics (topic, topic_id) VALUES ('t', 'x') RETURNING topic_key")
        (topic_key,) = cursor.fetchone()
        for offset, row in enumerate(rows):
            cursor.execute(
                'INSERT INTO ratings (time, topic_key, partition, "offset", user_id, movie_id, rating)'
                " VALUES (%s, %s, 0, %s, %s, %s, %s)",
                (row[0], topic_key, offset, *row[1:]),
            )


def insert_watch_session(database: Database, user_id: str, movie_id: str, minutes: int) -> None:
    with database.transaction() as cursor:
        cursor.execute(
            "INSERT INTO watch_sessions (user_id, movie_id, started, ended, first_minute, last_minute)"
            " VALUES (%s, %s, %s, %s, 0, %s)",
            (user_id, movie_id, LIVE_TIME, LIVE_TIME + timedelta(minutes=minutes), minutes),
        )


def test_retrain_base_data_only_releases_model_with_provenance(store: ObjectStore, base: Path) -> None:
    """Without a database a model of the base data is released, with metrics and provenance."""
    result = retrain(request(base), PARAMS, store, reason="the first", commit="abc")
    assert result.outcome == "released", result.reason
    serving, _ = release.read_current_release(store)
    assert ([arm.version for arm in serving.arms], serving.reason) == ([result.version], "the first")
    manifest = verify_artifact(store, serving.arms[0].version)
    newest = pd.read_csv(base / "ratings.csv")["time"].max()
    assert manifest.trained_through == result.trained_through == datetime.fromtimestamp(newest, UTC)
    assert (manifest.n_users, manifest.n_items) == (100, 49)
    assert manifest.metrics["rmse"].value < manifest.metrics["bias_only.rmse"].value
    low, high = manifest.metrics["ndcg@10"].low, manifest.metrics["ndcg@10"].high
    assert low is not None
    assert high is not None
    assert low <= manifest.metrics["ndcg@10"].value <= high
    origin = manifest.provenance
    assert (origin.trainer, origin.seed, origin.commit) == (PARAMS.trainer, PARAMS.seed, "abc")
    snapshot_params = SnapshotParams.from_request(request(base), database=False)
    assert origin.parameters == msgspec.structs.replace(PARAMS, snapshot=snapshot_params).as_dict()
    assert {"numpy", "scikit-surprise", "python"} <= set(origin.libraries)
    assert set(origin.data) == {"ratings.csv", "dataset"}


def test_retrain_same_data_and_seed_gives_identical_files(tmp_path: Path, base: Path) -> None:
    """The same data and seed give the same files and version; another seed gives another version."""
    stores = [connect(f"file://{tmp_path}/{name}") for name in ("one", "two", "three")]
    versions = [retrain(request(base), PARAMS, store).version for store in stores[:2]]
    assert versions[0] == versions[1]
    assert versions[0] is not None
    first, second = (read_manifest(store, versions[0]) for store in stores[:2])
    assert first.files == second.files
    other = retrain(request(base), msgspec.structs.replace(PARAMS, seed=1), stores[2]).version
    assert other != versions[0]


@pytest.mark.servers
def test_retrain_database_adds_events_before_until(store: ObjectStore, base: Path, database: Database) -> None:
    """Newer ratings replace older ones, new users and watch sessions are in the model, later events are not.

    A movie that only one user rated and the base data do not list is dropped.
    """
    insert_ratings(
        database,
        (LIVE_TIME, "u0-000", "bad+0000", 5),
        (LIVE_TIME, "newcomer", "b0+0001", 5),
        (LIVE_TIME + timedelta(hours=1), "newcomer", "b0+0002", 1),
        (LIVE_TIME, "newcomer", "typo+of+a+film+1999", 4),
    )
    insert_watch_session(database, "watcher", "b1+0003", 95)
    until = LIVE_TIME + timedelta(minutes=30)
    result = retrain(request(base, until=until), PARAMS, store, database)
    assert result.version is not None
    assert result.trained_through == LIVE_TIME
    items = read_items(store, result.version)
    users = UserStore(store, items.manifest)

    def history(user_id: str) -> dict[str, float]:
        record = users.read(user_id)
        assert record is not None
        return {items.movie_ids[i]: float(r) for i, r in zip(record.items, record.ratings, strict=True)}

    assert history("u0-000")["bad+0000"] == 5.0
    assert history("newcomer") == {"b0+0001": 5.0}
    assert list(history("watcher")) == ["b1+0003"]
    assert np.isnan(history("watcher")["b1+0003"])
    assert "typo+of+a+film+1999" not in items.movie_ids


@pytest.mark.servers
def test_retrain_other_rating_scale_rescales_base_data(store: ObjectStore, base: Path, database: Database) -> None:
    """With a scale of 1 to 10 the base data are rescaled, and the model predicts from 1 to 10."""
    insert_ratings(database, (LIVE_TIME, "u0-001", "b0+0001", 10))
    result = retrain(request(base, rating_max=10.0), PARAMS, store, database)
    assert result.version is not None
    manifest = read_manifest(store, result.version)
    assert (manifest.rating_min, manifest.rating_max) == (1.0, 10.0)
    assert 5 < manifest.mean < 10


@pytest.mark.servers
def test_retrain_every_outcome_is_recorded(store: ObjectStore, base: Path, tmp_path: Path, database: Database) -> None:
    """Released, trained, refused and failed runs each have a row with the reason and the metrics."""
    retrain(request(base), PARAMS, store, database, reason="on time")
    retrain(request(base), PARAMS, store, database, releasing=False)
    noise = write_base(tmp_path / "noise", random_ratings())
    # On noise this trainer is worse than the bias baseline; BPMF is not.
    refused = retrain(request(noise), msgspec.structs.replace(PARAMS, trainer="surprise_svd"), store, database)
    with pytest.raises(TrainingDataError):
        retrain(request(base, until=datetime(1970, 1, 1, tzinfo=UTC)), PARAMS, store, database)
    rows = retrain_runs.latest_runs(database)[::-1]
    assert [row.outcome for row in rows] == ["released", "trained", "refused", "failed"]
    assert rows[0].reason == "release 1: on time"
    assert rows[0].metrics["rmse"] < rows[0].metrics["bias_only.rmse"]
    assert "is worse than" in rows[2].reason
    assert (rows[2].version, rows[2].trained_through) == (refused.version, refused.trained_through)
    assert rows[3].reason.startswith("TooFewRatings: there are no ratings")
    assert rows[3].version is None
    assert all(row.started <= row.finished for row in rows)


def random_ratings() -> pd.DataFrame:
    """Return ratings without structure, on which no model beats the baselines with this seed."""
    ratings = blocks(seed=1)
    rng = np.random.default_rng(3)
    movies = rng.permutation(ratings["movie_id"].to_numpy())
    shuffled = ratings.assign(movie_id=movies, value=rng.integers(1, 6, len(ratings)).astype(float))
    return shuffled.drop_duplicates(["user_id", "movie_id"])


def test_retrain_refused_model_is_stored_and_not_served(store: ObjectStore, base: Path, tmp_path: Path) -> None:
    """A model worse than the baselines is stored for analysis, and the release stays."""
    before = retrain(request(base), PARAMS, store)
    refused = retrain(request(write_base(tmp_path / "noise", random_ratings())), PARAMS, store)
    assert refused.outcome == "refused"
    assert refused.version is not None
    assert refused.version != before.version
    verify_artifact(store, refused.version)
    assert release.read_current_release(store)[0].arms[0].version == before.version


def test_retrain_older_events_are_refused_while_newer_serve(store: ObjectStore, base: Path) -> None:
    """A model of older events is refused, whenever its run ends; an operator can still promote it."""
    newer = retrain(request(base), PARAMS, store)
    older = retrain(request(base, base_fraction=0.7), PARAMS, store)
    assert older.outcome == "refused"
    assert "newer" in older.reason
    assert older.version is not None
    assert release.read_current_release(store)[0].arms[0].version == newer.version
    promote(store, older.version, author="a person")
    assert release.read_current_release(store)[0].arms[0].version == older.version


def test_retrain_concurrent_runs_release_newest_events(store: ObjectStore, base: Path) -> None:
    """Several concurrent runs all succeed, and the model of the newest events serves."""
    fractions = (0.7, 0.8, 0.9, 1.0, 1.0)
    results: list[RetrainResult] = []

    def retrain_fraction(fraction: float) -> None:
        results.append(retrain(request(base, base_fraction=fraction), PARAMS, store))

    threads = [threading.Thread(target=retrain_fraction, args=(fraction,)) for fraction in fractions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == len(fractions)
    versions = [str(result.version) for result in results]
    assert release.read_current_release(store)[0].arms[0].version == max(versions)
    for version in versions:
        verify_artifact(store, version)


def test_retrain_same_data_publishes_no_second_release(store: ObjectStore, base: Path) -> None:
    """A second run on the same data changes nothing and has the outcome "released"."""
    retrain(request(base), PARAMS, store)
    assert retrain(request(base), PARAMS, store).outcome == "released"
    assert release.read_current_release(store)[0].number == 1


@pytest.mark.servers
def test_retrain_claims_open_request_and_its_reason(store: ObjectStore, base: Path, database: Database) -> None:
    """A retraining claims the open request, and the release has the reason of the request."""
    now = datetime.now(UTC)
    retrain_queue.request_retrain(database, "drift.rating_psi", "v1", "the ratings have drifted", now)
    retrain(request(base), PARAMS, store, database)
    assert release.read_current_release(store)[0].reason == "the ratings have drifted"
    assert retrain_queue.pending(database, datetime.now(UTC)) == []
    ((run,),) = query_rows(database, "SELECT run FROM retrain_requests")
    assert run == retrain_runs.latest_runs(database)[0].run


def test_retrain_database_unavailable_fails(store: ObjectStore, base: Path) -> None:
    """A database that cannot be read fails the run with a transient error."""
    away = Database("postgresql://app@127.0.0.1:9/none", connect_timeout_s=1)
    with pytest.raises(DatabaseUnavailable):
        retrain(request(base), PARAMS, store, away)


@pytest.mark.servers
def test_retrain_with_remote_takes_unchanged_days_from_the_serving_snapshot(
    store: ObjectStore, base: Path, database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The second retraining takes over the days of the first; a damaged snapshot only makes it read everything."""
    caplog.set_level("INFO", "marquee.data.sources")
    remote = FileStore(tmp_path / "remote")
    insert_ratings(database, (LIVE_TIME, "u0-001", "b0+0001", 5), (LIVE_TIME, "u0-002", "b0+0001", 4))
    assert retrain(request(base), PARAMS, store, database, remote=remote).version
    with database.transaction() as cursor:
        cursor.execute(
            'INSERT INTO ratings (time, topic_key, partition, "offset", user_id, movie_id, rating)'
            " SELECT time + interval '2 days', topic_key, partition, 99, 'u0-003', movie_id, 1 FROM ratings LIMIT 1"
        )
    second = retrain(request(base), PARAMS, store, database, remote=remote)
    assert "ratings: 1 of 2 days are taken from the last snapshot" in caplog.text
    assert second.version is not None
    taken = read_manifest(store, second.version).provenance.data
    for name in remote.list("files/md5/"):
        remote.delete(name)
    third = retrain(request(base), PARAMS, store, database, remote=remote)
    assert "cannot be used, all rows are read again" in caplog.text
    assert third.version is not None
    assert read_manifest(store, third.version).provenance.data == taken
