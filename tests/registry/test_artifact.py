"""Artifacts: what is written is what is read, and a writer that dies or has a bad model leaves none."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from tests.registry.models import ARRAYS, ITEM_FILES, THROUGH, USER_FILES, made_model, overwrite, stored
from tests.support.dying_store import DyingStore

from marquee.errors import ArtifactRefused, ObjectNotFound, ObjectStoreUnavailable
from marquee.registry.artifact import verify_artifact, write_artifact
from marquee.registry.item_factors import predict_ratings, ranking_scores
from marquee.registry.item_store import read_items
from marquee.registry.manifest import Metric, Provenance, object_name, read_manifest
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.trained_model import Histories, TrainedModel
from marquee.registry.user_store import UserStore


def test_what_is_written_is_read(store: ObjectStore) -> None:
    """Every array, id and number comes back as it was, from every kind of store."""
    model = made_model()
    version = stored(store, model)
    side = read_items(store, version)
    assert side.movie_ids == tuple(model.movie_ids)
    assert [side.items[m] for m in model.movie_ids] == list(range(30))
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(side, name), getattr(model, name))
    m = side.manifest
    assert (m.n_users, m.n_items, m.rating_rank, m.ranking_rank) == (7, 30, 5, 3)
    assert (m.mean, m.rating_min, m.rating_max, m.noise_precision) == (3.5, 1, 5, 1.2)
    assert verify_artifact(store, version) == m
    user = UserStore(store, m).read("dora")
    assert user is not None
    assert user.bias == model.user_biases[3]
    np.testing.assert_array_equal(user.vector, model.user_vectors[3])
    assert len(user.items) == 3
    assert np.isnan(user.ratings[0])


def test_the_manifest_keeps_what_it_is_told(file_store: ObjectStore) -> None:
    """Metrics with their intervals and all that it takes to make the model again."""
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
        file_store, made_model(), trained_through=THROUGH, metrics=metrics, provenance=provenance, now=now
    )
    manifest = read_manifest(file_store, version)
    assert (manifest.metrics, manifest.provenance) == (metrics, provenance)
    assert (manifest.created, manifest.trained_through) == (now, THROUGH)
    assert manifest.created.utcoffset() == timedelta(0)


def test_the_version_tells_time_and_content(file_store: ObjectStore) -> None:
    """The same model is the same version; anything that changes an answer changes the version."""
    model = made_model()
    version = stored(file_store, model)
    assert version.startswith("19980401T123005-")
    assert stored(file_store, made_model()) == version
    assert stored(file_store, dataclasses.replace(model, mean=3.6)) != version
    assert stored(file_store, made_model(seed=1)) != version
    with pytest.raises(ValueError, match="zone"):
        write_artifact(file_store, model, trained_through=datetime(1998, 4, 1))


def test_writing_again_changes_nothing(file_store: ObjectStore) -> None:
    """The first manifest stays: an artifact never changes."""
    version = stored(file_store)
    before = {name: file_store.get(name).version for name in file_store.list("")}
    assert (
        write_artifact(file_store, made_model(), trained_through=THROUGH, metrics={"a": Metric(1)}) == version
    )
    assert {name: file_store.get(name).version for name in file_store.list("")} == before


def test_a_writer_that_dies_leaves_no_artifact(file_store: ObjectStore) -> None:
    """Wherever it dies there is no artifact, and the next writer of the same model finishes the work."""
    files = len(ITEM_FILES) + len(USER_FILES)
    for puts in range(files + 1):
        model = made_model(seed=puts)
        failing = DyingStore(file_store, max_writes=puts)
        with pytest.raises(ObjectStoreUnavailable):
            stored(failing, model)
        version = stored(file_store, model)
        assert all(version in name for name in failing.names)
        assert verify_artifact(file_store, version).n_items == 30


def test_the_manifest_comes_last(file_store: ObjectStore) -> None:
    """Whoever sees a manifest sees all that it names."""
    recording = DyingStore(file_store)
    version = stored(recording)
    assert recording.names[-1] == object_name(version, "manifest.json")
    named = {object_name(version, f) for f in read_manifest(file_store, version).files}
    assert set(recording.names[:-1]) == named


def test_another_content_of_the_same_name_is_no_leftover(file_store: ObjectStore) -> None:
    """A writer does not adopt a file that is not the one it would have written."""
    version = stored(file_store)
    file_store.delete(object_name(version, "manifest.json"))
    overwrite(file_store, version, "item_biases.npy", b"other")
    with pytest.raises(ArtifactRefused, match="another content"):
        stored(file_store)


def test_no_such_artifact(file_store: ObjectStore) -> None:
    """What was never written is not found."""
    with pytest.raises(ObjectNotFound):
        read_items(file_store, "19700101T000000-00000000")


def _bad_models() -> dict[str, TrainedModel]:
    model, vectors = made_model(), made_model().item_vectors.copy()
    vectors[0, 0] = np.nan
    h = model.histories
    replace = dataclasses.replace
    return {
        "item_vectors": replace(model, item_vectors=vectors),
        "item_biases": replace(model, item_biases=model.item_biases.astype(np.float64)),
        "user_vectors": replace(model, user_vectors=model.user_vectors[:-1]),
        "rank_history": replace(model, rank_history=model.rank_history[:, :-1]),
        "prior_mean": replace(model, prior_mean=model.prior_mean[:-1]),
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


@pytest.mark.parametrize("what", _bad_models())
def test_a_bad_model_is_never_written(file_store: ObjectStore, what: str) -> None:
    """The writer names what is wrong, and nothing reaches the store."""
    with pytest.raises(ArtifactRefused, match=what):
        stored(file_store, _bad_models()[what])
    assert list(file_store.list("")) == []


def test_a_model_without_users(file_store: ObjectStore) -> None:
    """A catalogue alone can be served."""
    version = stored(file_store, made_model(()))
    manifest = verify_artifact(file_store, version)
    assert UserStore(file_store, manifest).read("ann") is None


def test_nothing_is_copied_from_a_file(file_store: ObjectStore, tmp_path: Path) -> None:
    """The arrays are the mapped files themselves, aligned and read-only."""
    side = read_items(file_store, stored(file_store))
    for name in ARRAYS:
        array = getattr(side, name)
        assert not array.flags.owndata
        assert not array.flags.writeable
        assert array.ctypes.data % 64 == 0
    vectors = str(tmp_path / "objects")
    assert vectors in Path("/proc/self/maps").read_text()


def test_the_heads_by_hand(file_store: ObjectStore) -> None:
    """Both formulas, movie by movie."""
    model = made_model()
    side = read_items(file_store, stored(file_store, model))
    ratings = predict_ratings(side, model.user_vectors[2], float(model.user_biases[2]))
    scores = ranking_scores(side, np.array([4, 9]), np.array([0.5, 2], np.float32))
    for i in range(30):
        rating = 3.5 + model.user_biases[2] + model.item_biases[i]
        rating += sum(model.user_vectors[2, f] * model.item_vectors[i, f] for f in range(5))
        assert ratings[i] == pytest.approx(rating, abs=1e-5)
        history = 0.5 * model.rank_history[4] + 2 * model.rank_history[9]
        assert scores[i] == pytest.approx(float(history @ model.rank_items[i]), abs=1e-5)
    assert ratings.dtype == scores.dtype == np.float32
    assert not ranking_scores(side, np.array([], int), np.array([], np.float32)).any()


def test_histories_are_grouped_by_user() -> None:
    """Entries in any order; a user's own keep theirs."""
    h = Histories.from_entries(4, np.array([2, 0, 2, 3]), np.array([5, 6, 7, 8]), np.array([1.0, 2, 3, 4]))
    assert h.indptr.tolist() == [0, 1, 1, 3, 4]
    assert h.items.tolist() == [6, 5, 7, 8]
    assert h.ratings.tolist() == [2, 1, 3, 4]
    assert h.weights.tolist() == [1, 1, 1, 1]
