"""The smoke test: an artifact whose hashes are right and whose answers are wrong is caught."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from tests.registry.models import change_manifest, forge, made_model, npy_bytes, stored

from marquee.errors import ArtifactRefused
from marquee.registry.artifact import verify_artifact
from marquee.registry.item_store import read_items
from marquee.registry.manifest import Manifest, read_manifest
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.smoke_test import run_smoke_test
from marquee.registry.trained_model import TrainedModel
from marquee.registry.user_store import UserStore


def test_a_handful_of_users_is_kept(file_store: ObjectStore) -> None:
    """Distinct users from the whole range, each with answers of both heads."""
    manifest = read_manifest(file_store, stored(file_store))
    users = [case.user_id for case in manifest.smoke]
    assert users == ["ann", "bob", "dora", "eve", "gus"]
    for case in manifest.smoke:
        assert len(case.ratings) == len(case.top) == 10
        scores = [score for _, score in case.top]
        assert scores == sorted(scores, reverse=True)


def test_what_was_written_passes(store: ObjectStore) -> None:
    """From every kind of store."""
    side = read_items(store, stored(store))
    run_smoke_test(side, UserStore(store, side.manifest))


def _model() -> TrainedModel:
    return made_model()


WRONG: dict[str, tuple[str, Callable[[], np.ndarray]]] = {
    "biases of the wrong sign": ("item_biases.npy", lambda: -_model().item_biases),
    "movies in another order": ("item_vectors.npy", lambda: _model().item_vectors[::-1]),
    "half of a head": ("rank_items.npy", lambda: _model().rank_items * np.array([1, 1, 0], np.float32)),
    "a head of another run": ("rank_history.npy", lambda: made_model(seed=3).rank_history),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_answers_are_caught(file_store: ObjectStore, what: str) -> None:
    """Arrays that are sound in themselves but do not belong to this model."""
    version = stored(file_store)
    file, array = WRONG[what][0], WRONG[what][1]()
    forge(file_store, version, file, npy_bytes(np.ascontiguousarray(array)))
    read_items(file_store, version)
    with pytest.raises(ArtifactRefused, match="fails its smoke test: user"):
        verify_artifact(file_store, version)


def test_a_movie_that_overtakes_is_caught(file_store: ObjectStore) -> None:
    """The expected movies may keep their scores: another must not come above them."""
    model = made_model()
    version = stored(file_store, model)
    smoke = read_manifest(file_store, version).smoke
    tops = {movie_id for case in smoke for movie_id, _ in case.top}
    outsider = next(i for i, m in enumerate(model.movie_ids) if m not in tops)
    forged = model.rank_items.copy()
    dora = next(case for case in smoke if case.user_id == "dora")
    forged[outsider] = forged[model.movie_ids.index(dora.top[0][0])] * 2
    forge(file_store, version, "rank_items.npy", npy_bytes(forged))
    with pytest.raises(ArtifactRefused, match="other movies"):
        verify_artifact(file_store, version)


def test_a_user_who_is_gone_is_caught(file_store: ObjectStore) -> None:
    """An index and blocks of other users."""
    version = stored(file_store)
    other = stored(file_store, made_model([f"user {n}" for n in range(7)]))
    for file in ("users.index", "users.bin"):
        forge(file_store, version, file, file_store.get(f"models/{other}/{file}").data)
    with pytest.raises(ArtifactRefused, match="ann is missing from the user store"):
        verify_artifact(file_store, version)


def test_a_movie_that_is_gone_is_caught(file_store: ObjectStore) -> None:
    """Ids that are not those of the rows."""
    version = stored(file_store)
    forge(file_store, version, "movie_ids.json", msgspec.json.encode([f"m{i}" for i in range(30)]))
    with pytest.raises(ArtifactRefused, match="which is missing"):
        verify_artifact(file_store, version)


def test_rounding_is_no_fault(file_store: ObjectStore) -> None:
    """Answers that differ as float32 sums do between processors pass."""
    version = stored(file_store)

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
