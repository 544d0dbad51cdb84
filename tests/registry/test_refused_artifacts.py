"""Artifacts that must not serve: damaged, wrong or of another format, each is refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.registry.models import (
    ITEM_FILES,
    USER_FILES,
    change_manifest,
    forge,
    made_model,
    npy_bytes,
    overwrite,
    stored,
)

from marquee.errors import ArtifactRefused
from marquee.registry.artifact import verify_artifact
from marquee.registry.item_store import read_items
from marquee.registry.manifest import object_name
from marquee.registry.object_store.object_store import ObjectStore


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "flipped bit": _flipped,
    "cut short": lambda data: data[:-1],
    "empty": lambda data: b"",
    "too long": lambda data: data + b"\0",
}


@pytest.mark.parametrize("file", ITEM_FILES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused(file_store: ObjectStore, file: str, damage: str) -> None:
    """One wrong bit anywhere on the item side is found when it is loaded, and named."""
    version = stored(file_store)
    name = object_name(version, file)
    overwrite(file_store, version, file, DAMAGES[damage](file_store.get(name).data))
    with pytest.raises(ArtifactRefused, match=file):
        read_items(file_store, version)


@pytest.mark.parametrize("file", [*ITEM_FILES, *USER_FILES])
def test_a_missing_file_is_refused(file_store: ObjectStore, file: str) -> None:
    """An artifact that is there in part is refused, not taken for one that was never written."""
    version = stored(file_store)
    file_store.delete(object_name(version, file))
    with pytest.raises(ArtifactRefused, match=file):
        verify_artifact(file_store, version)


@pytest.mark.parametrize("file", USER_FILES)
@pytest.mark.parametrize("damage", ["cut short", "empty", "too long"])
def test_a_user_side_of_another_size_is_refused(file_store: ObjectStore, file: str, damage: str) -> None:
    """The user side is not read whole, but its length is checked."""
    version = stored(file_store)
    name = object_name(version, file)
    overwrite(file_store, version, file, DAMAGES[damage](file_store.get(name).data))
    with pytest.raises(ArtifactRefused, match=r"users\."):
        verify_artifact(file_store, version)


def _with(value: float) -> np.ndarray:
    array = made_model().item_vectors.copy()
    array[3, 2] = value
    return array


WRONG_ARRAYS = {
    "NaN": npy_bytes(_with(np.nan)),
    "infinite": npy_bytes(_with(np.inf)),
    "float64": npy_bytes(np.zeros((30, 5))),
    "big endian": npy_bytes(np.zeros((30, 5), ">f4")),
    "too few rows": npy_bytes(np.zeros((29, 5), np.float32)),
    "transposed": npy_bytes(np.zeros((5, 30), np.float32)),
    "column by column": npy_bytes(np.zeros((30, 5), np.float32, order="F")),
    "pickled": npy_bytes(np.full((30, 5), None, dtype=object), allow_pickle=True),
    "another npy format": npy_bytes(np.zeros((30, 5), np.float32), version=(2, 0)),
    "cut inside the numbers": npy_bytes(np.zeros((30, 5), np.float32))[:-4],
    "no npy at all": b"\x80\x04pickle" * 10,
    "empty": b"",
}


@pytest.mark.parametrize("what", WRONG_ARRAYS)
def test_a_wrong_array_is_refused(file_store: ObjectStore, what: str) -> None:
    """A right hash does not help an array that is not finite float32 of the stated shape."""
    version = stored(file_store)
    forge(file_store, version, "item_vectors.npy", WRONG_ARRAYS[what])
    with pytest.raises(ArtifactRefused, match="item_vectors"):
        read_items(file_store, version)


@pytest.mark.parametrize(
    "ids",
    [b'["a"]', b"{}", b"not json", msgspec.json.encode(["a"] * 30), msgspec.json.encode(list(range(30)))],
)
def test_wrong_movie_ids_are_refused(file_store: ObjectStore, ids: bytes) -> None:
    """As many distinct ids as there are movies, and nothing else."""
    version = stored(file_store)
    forge(file_store, version, "movie_ids.json", ids)
    with pytest.raises(ArtifactRefused, match="movie_ids"):
        read_items(file_store, version)


def test_a_future_format_is_refused(file_store: ObjectStore) -> None:
    """The message tells the format found, the one we read, and what to do."""
    version = stored(file_store)
    name = object_name(version, "manifest.json")
    document = msgspec.json.decode(file_store.get(name).data)
    for found, advice in ((2, "update the program"), (0, "train a new model")):
        overwrite(file_store, version, "manifest.json", msgspec.json.encode({**document, "format": found}))
        with pytest.raises(
            ArtifactRefused, match=f"format {found} and this program reads format 1: {advice}"
        ):
            read_items(file_store, version)
    overwrite(file_store, version, "manifest.json", msgspec.json.encode({"format": 2, "all": "new"}))
    with pytest.raises(ArtifactRefused, match="format 2"):
        read_items(file_store, version)


@pytest.mark.parametrize("document", [b"", b"{", b"[]", b'{"format":1}', b'{"format":"1"}', b"\xff"])
def test_a_manifest_that_cannot_be_read_is_refused(file_store: ObjectStore, document: bytes) -> None:
    """Nonsense is an artifact that must not serve, never another error."""
    version = stored(file_store)
    overwrite(file_store, version, "manifest.json", document)
    with pytest.raises(ArtifactRefused, match="cannot be read"):
        read_items(file_store, version)


@pytest.mark.parametrize(
    "change",
    [
        {"n_items": 31},
        {"n_items": 0},
        {"rating_rank": 4},
        {"ranking_rank": 0},
        {"buckets": 0},
        {"n_users": -1},
        {"version": "x"},
        {"files": {}},
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(file_store: ObjectStore, change: dict[str, Any]) -> None:
    """Sizes that are not those of the files, or the manifest of another artifact."""
    version = stored(file_store)
    change_manifest(file_store, version, lambda m: msgspec.structs.replace(m, **change))
    with pytest.raises(ArtifactRefused):
        read_items(file_store, version)
