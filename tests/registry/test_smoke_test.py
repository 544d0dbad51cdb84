"""Tests of the smoke test: an artifact with correct hashes and wrong predictions is refused."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from tests.registry.models import change_manifest, forge, make_model, npy_bytes, store_model

from marquee.errors import ArtifactRefused
from marquee.registry.artifact import verify_artifact
from marquee.registry.item_store import read_items
from marquee.registry.manifest import Manifest, read_manifest
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.smoke_test import run_smoke_test
from marquee.registry.trained_model import TrainedModel
from marquee.registry.user_store import UserStore


def test_manifest_has_smoke_cases_of_a_few_users(file_store: ObjectStore) -> None:
    """Distinct users from the whole range, each with predictions of both models."""
    manifest = read_manifest(file_store, store_model(file_store))
    users = [case.user_id for case in manifest.smoke]
    assert users == ["ann", "bob", "dora", "eve", "gus"]
    for case in manifest.smoke:
        assert len(case.ratings) == len(case.top) == 10
        scores = [score for _, score in case.top]
        assert scores == sorted(scores, reverse=True)


def test_run_smoke_test_unchanged_artifact_passes(store: ObjectStore) -> None:
    """On every kind of store."""
    factors = read_items(store, store_model(store))
    run_smoke_test(factors, UserStore(store, factors.manifest))


def _model() -> TrainedModel:
    return make_model()


WRONG: dict[str, tuple[str, Callable[[], np.ndarray]]] = {
    "biases of the wrong sign": ("item_biases.npy", lambda: -_model().item_biases),
    "movies in another order": ("item_vectors.npy", lambda: _model().item_vectors[::-1]),
    "a missing factor": ("rank_items.npy", lambda: _model().rank_items * np.array([1, 1, 0], np.float32)),
    "a ranking model of another run": ("rank_history.npy", lambda: make_model(seed=3).rank_history),
}


@pytest.mark.parametrize("damage", WRONG)
def test_verify_artifact_wrong_predictions_are_refused(file_store: ObjectStore, damage: str) -> None:
    """Arrays that are valid in themselves but do not belong to this model."""
    version = store_model(file_store)
    file, array = WRONG[damage][0], WRONG[damage][1]()
    forge(file_store, version, file, npy_bytes(np.ascontiguousarray(array)))
    read_items(file_store, version)
    with pytest.raises(ArtifactRefused, match="fails its smoke test: user"):
        verify_artifact(file_store, version)


def test_verify_artifact_other_top_movie_is_refused(file_store: ObjectStore) -> None:
    """The expected movies keep their scores, but another one ranks above them."""
    model = make_model()
    version = store_model(file_store, model)
    smoke = read_manifest(file_store, version).smoke
    tops = {movie_id for case in smoke for movie_id, _ in case.top}
    outsider = next(i for i, m in enumerate(model.movie_ids) if m not in tops)
    forged = model.rank_items.copy()
    dora = next(case for case in smoke if case.user_id == "dora")
    forged[outsider] = forged[model.movie_ids.index(dora.top[0][0])] * 2
    forge(file_store, version, "rank_items.npy", npy_bytes(forged))
    with pytest.raises(ArtifactRefused, match="other movies"):
        verify_artifact(file_store, version)


def test_verify_artifact_missing_user_is_refused(file_store: ObjectStore) -> None:
    """The user store of another artifact."""
    version = store_model(file_store)
    other = store_model(file_store, make_model([f"user {n}" for n in range(7)]))
    for file in ("users.index", "users.bin"):
        forge(file_store, version, file, file_store.get(f"models/{other}/{file}").data)
    with pytest.raises(ArtifactRefused, match="ann is missing from the user store"):
        verify_artifact(file_store, version)


def test_verify_artifact_missing_movie_is_refused(file_store: ObjectStore) -> None:
    """Ids that are not those of the rows."""
    version = store_model(file_store)
    forge(file_store, version, "movie_ids.json", msgspec.json.encode([f"m{i}" for i in range(30)]))
    with pytest.raises(ArtifactRefused, match="which is missing"):
        verify_artifact(file_store, version)


def test_verify_artifact_rounding_differences_pass(file_store: ObjectStore) -> None:
    """Predictions that differ as float32 sums do between processors."""
    version = store_model(file_store)

    def nudged(manifest: Manifest) -> Manifest:
        smoke = tuple(
            msgspec.structs.replace(
                case,
                ratings=tuple((m, x + 3e-5) for m, x in case.ratings),
                top=tuple((m, x - 3e-5) for m, x in case.top),
            )
            for case in manifest.smoke
        )
        return msgspec.structs.replace(manifest, smoke=smoke)

    change_manifest(file_store, version, nudged)
    verify_artifact(file_store, version)
