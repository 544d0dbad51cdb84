"""Tests of artifacts: reading returns what was written, and failed writes leave no artifact."""

from __future__ import annotations

import dataclasses
import errno
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from tests.registry.models import ARRAYS, ITEM_FILES, THROUGH, USER_FILES, make_model, overwrite, store_model
from tests.support.dying_store import DyingStore

from marquee.errors import ArtifactRefused, ObjectNotFound, ObjectStoreError, ObjectStoreUnavailable
from marquee.registry.artifact import verify_artifact, write_artifact
from marquee.registry.item_factors import predict_ratings, ranking_scores
from marquee.registry.item_store import read_items
from marquee.registry.manifest import Metric, Provenance, object_name, read_manifest
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.trained_model import Histories, TrainedModel
from marquee.registry.user_store import UserStore
from marquee.scoring.level_drift import Drift


def test_write_artifact_reads_back_identical(store: ObjectStore) -> None:
    """Every array, id and number, from every kind of store."""
    model = make_model()
    version = store_model(store, model)
    factors = read_items(store, version)
    assert factors.movie_ids == tuple(model.movie_ids)
    assert [factors.items[m] for m in model.movie_ids] == list(range(30))
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(factors, name), getattr(model, name))
    m = factors.manifest
    assert (m.n_users, m.n_items, m.rating_rank, m.ranking_rank) == (7, 30, 5, 3)
    assert (m.mean, m.rating_min, m.rating_max, m.noise_precision) == (3.5, 1, 5, 1.2)
    assert verify_artifact(store, version) == m
    user = UserStore(store, m).read("dora")
    assert user is not None
    assert user.bias == model.user_biases[3]
    np.testing.assert_array_equal(user.vector, model.user_vectors[3])
    assert len(user.items) == 3
    assert np.isnan(user.ratings[0])


def test_manifest_keeps_metrics_and_provenance(file_store: ObjectStore) -> None:
    """Times are converted to UTC."""
    metrics = {"rmse": Metric(0.93, 0.92, 0.94), "coverage": Metric(0.4)}
    provenance = Provenance(
        trainer="surprise_svd",
        parameters={"n_factors": 100, "reg": 0.02},
        seed=7,
        libraries={"numpy": "2.4.6"},
        commit="0123abc",
        data={"movielens-100k": "md5:12"},
    )
    now = datetime(2026, 1, 2, 3, 4, tzinfo=timezone(timedelta(hours=2)))
    version = write_artifact(
        file_store, make_model(), trained_through=THROUGH, metrics=metrics, provenance=provenance, now=now
    )
    manifest = read_manifest(file_store, version)
    assert (manifest.metrics, manifest.provenance) == (metrics, provenance)
    assert (manifest.created, manifest.trained_through) == (now, THROUGH)
    assert manifest.created.utcoffset() == timedelta(0)


def test_version_has_the_time_and_a_content_hash(file_store: ObjectStore) -> None:
    """The same model has the same version; anything that changes a prediction changes the version."""
    model = make_model()
    version = store_model(file_store, model)
    assert version.startswith("19980401T123005-")
    assert store_model(file_store, make_model()) == version
    assert store_model(file_store, dataclasses.replace(model, mean=3.6)) != version
    assert store_model(file_store, make_model(seed=1)) != version
    with pytest.raises(ValueError, match="zone"):
        write_artifact(file_store, model, trained_through=datetime(1998, 4, 1))


def test_write_artifact_twice_changes_nothing(file_store: ObjectStore) -> None:
    """The first manifest stays, because an artifact never changes."""
    version = store_model(file_store)
    before = {name: file_store.get(name).version for name in file_store.list("")}
    assert write_artifact(file_store, make_model(), trained_through=THROUGH, metrics={"a": Metric(1)}) == version
    assert {name: file_store.get(name).version for name in file_store.list("")} == before


def test_write_artifact_interrupted_leaves_no_artifact(file_store: ObjectStore) -> None:
    """After every number of writes there is no artifact, and the next writer of the same model finishes the
    work.
    """
    files = len(ITEM_FILES) + len(USER_FILES)
    for puts in range(files + 1):
        model = make_model(seed=puts)
        failing = DyingStore(file_store, max_writes=puts)
        with pytest.raises(ObjectStoreUnavailable):
            store_model(failing, model)
        version = store_model(file_store, model)
        assert all(version in name for name in failing.names)
        assert verify_artifact(file_store, version).n_items == 30


def test_write_artifact_writes_the_manifest_last(file_store: ObjectStore) -> None:
    """A reader that finds a manifest finds every file that it names."""
    recording = DyingStore(file_store)
    version = store_model(recording)
    assert recording.names[-1] == object_name(version, "manifest.json")
    named = {object_name(version, f) for f in read_manifest(file_store, version).files}
    assert set(recording.names[:-1]) == named


def test_write_artifact_foreign_file_is_refused(file_store: ObjectStore) -> None:
    """A writer does not adopt a file whose content differs from its own."""
    version = store_model(file_store)
    file_store.delete(object_name(version, "manifest.json"))
    overwrite(file_store, version, "item_biases.npy", b"other")
    with pytest.raises(ArtifactRefused, match="another content"):
        store_model(file_store)


def test_read_items_missing_artifact_raises(file_store: ObjectStore) -> None:
    """The error is ObjectNotFound."""
    with pytest.raises(ObjectNotFound):
        read_items(file_store, "19700101T000000-00000000")


def _bad_models() -> dict[str, TrainedModel]:
    model, vectors = make_model(), make_model().item_vectors.copy()
    vectors[0, 0] = np.nan
    h = model.histories
    replace = dataclasses.replace
    return {
        "item_vectors": replace(model, item_vectors=vectors),
        "item_biases": replace(model, item_biases=model.item_biases.astype(np.float64)),
        "user_vectors": replace(model, user_vectors=model.user_vectors[:-1]),
        "rank_history": replace(model, rank_history=model.rank_history[:, :-1]),
        "prior_mean": replace(model, prior_mean=model.prior_mean[:-1]),
        "prior_implicit": replace(model, prior_implicit=np.zeros((1, 2), np.float32)),
        "the drift": replace(model, drift=Drift(1.0, 1.0)),
        "movie_ids": replace(model, movie_ids=[*model.movie_ids[:-1], model.movie_ids[0]]),
        "mean": replace(model, mean=float("nan")),
        "rating_min": replace(model, rating_min=5, rating_max=1),
        "noise_precision": replace(model, noise_precision=0),
        "histories": replace(model, histories=replace(h, items=h.items + np.uint32(30))),
        "histories ": replace(model, histories=replace(h, indptr=h.indptr[:-1])),
        "histories must": replace(model, histories=replace(h, weights=h.weights[:-1])),
        "histories hold": replace(model, histories=replace(h, weights=h.weights * np.float32(np.nan))),
        "twice": replace(model, user_ids=["ann", *model.user_ids[:-1]]),
        "UTF-8": replace(model, user_ids=["\ud800", *model.user_ids[1:]]),
    }


def test_artifact_keeps_drift_and_implicit_feedback(file_store: ObjectStore) -> None:
    """Both change the version, because they change the predictions; an artifact without them stays as it was."""
    model = make_model()
    implicit = np.ones((len(model.movie_ids), len(model.prior_mean)), np.float32)
    drifting = dataclasses.replace(model, drift=Drift(0.1, 0.9), prior_implicit=implicit)
    drift_only = dataclasses.replace(model, drift=Drift(0.1, 0.9))
    versions = [write_artifact(file_store, m, trained_through=THROUGH) for m in (model, drift_only, drifting)]
    assert len(set(versions)) == 3
    plain, _, stored = (read_items(file_store, version) for version in versions)
    assert plain.manifest.drift == Drift()
    assert not plain.prior_implicit.size
    assert stored.manifest.drift == Drift(0.1, 0.9)
    np.testing.assert_array_equal(stored.prior_implicit, implicit)


@pytest.mark.parametrize("what", _bad_models())
def test_write_artifact_invalid_model_is_refused(file_store: ObjectStore, what: str) -> None:
    """The error names the problem, and nothing reaches the store."""
    with pytest.raises(ArtifactRefused, match=what):
        store_model(file_store, _bad_models()[what])
    assert list(file_store.list("")) == []


def test_write_artifact_without_users_is_valid(file_store: ObjectStore) -> None:
    """A catalog alone can be served."""
    version = store_model(file_store, make_model(()))
    manifest = verify_artifact(file_store, version)
    assert UserStore(file_store, manifest).read("ann") is None


def test_read_items_file_store_copies_the_arrays(file_store: ObjectStore) -> None:
    """The arrays are copies in memory, aligned and read-only."""
    factors = read_items(file_store, store_model(file_store))
    for name in ARRAYS:
        array = getattr(factors, name)
        assert not array.flags.owndata
        assert not array.flags.writeable
        assert array.ctypes.data % 64 == 0
    assert "rank_items.npy" not in Path("/proc/self/maps").read_text()


def test_models_equal_their_formulas(file_store: ObjectStore) -> None:
    """Both formulas, item by item."""
    model = make_model()
    factors = read_items(file_store, store_model(file_store, model))
    ratings = predict_ratings(factors, model.user_vectors[2], float(model.user_biases[2]))
    scores = ranking_scores(factors, np.array([4, 9]), np.array([0.5, 2], np.float32))
    for i in range(30):
        rating = 3.5 + model.user_biases[2] + model.item_biases[i]
        rating += sum(model.user_vectors[2, f] * model.item_vectors[i, f] for f in range(5))
        assert ratings[i] == pytest.approx(rating, abs=1e-5)
        history = 0.5 * model.rank_history[4] + 2 * model.rank_history[9]
        assert scores[i] == pytest.approx(float(history @ model.rank_items[i]), abs=1e-5)
    assert ratings.dtype == scores.dtype == np.float32
    assert not ranking_scores(factors, np.array([], int), np.array([], np.float32)).any()


def test_histories_from_entries_groups_by_user() -> None:
    """Entries come in any order; those of one user keep theirs."""
    h = Histories.from_entries(4, np.array([2, 0, 2, 3]), np.array([5, 6, 7, 8]), np.array([1.0, 2, 3, 4]))
    assert h.indptr.tolist() == [0, 1, 1, 3, 4]
    assert h.items.tolist() == [6, 5, 7, 8]
    assert h.ratings.tolist() == [2, 1, 3, 4]
    assert h.weights.tolist() == [1, 1, 1, 1]


def test_write_artifact_without_temporary_space_says_where(
    file_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence names the directory and TMPDIR."""

    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("marquee.registry.artifact.write_users", fail)
    with pytest.raises(ObjectStoreError, match="No space left on device; free space there, or set TMPDIR"):
        write_artifact(file_store, make_model(), trained_through=THROUGH)
    assert list(file_store.list("models/")) == []
