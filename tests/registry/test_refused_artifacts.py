"""Tests of artifacts that must not serve: damaged, wrong or of another format."""

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
    make_model,
    npy_bytes,
    overwrite,
    store_model,
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
def test_read_items_damaged_file_is_refused(file_store: ObjectStore, file: str, damage: str) -> None:
    """One wrong bit in any item file is found when it is loaded, and the error names the file."""
    version = store_model(file_store)
    name = object_name(version, file)
    overwrite(file_store, version, file, DAMAGES[damage](file_store.get(name).data))
    with pytest.raises(ArtifactRefused, match=file):
        read_items(file_store, version)


@pytest.mark.parametrize("file", [*ITEM_FILES, *USER_FILES])
def test_verify_artifact_missing_file_is_refused(file_store: ObjectStore, file: str) -> None:
    """An incomplete artifact is refused, not treated as one that does not exist."""
    version = store_model(file_store)
    file_store.delete(object_name(version, file))
    with pytest.raises(ArtifactRefused, match=file):
        verify_artifact(file_store, version)


@pytest.mark.parametrize("file", USER_FILES)
@pytest.mark.parametrize("damage", ["cut short", "empty", "too long"])
def test_verify_artifact_user_store_of_wrong_size_is_refused(file_store: ObjectStore, file: str, damage: str) -> None:
    """The user store is not read completely, but its length is checked."""
    version = store_model(file_store)
    name = object_name(version, file)
    overwrite(file_store, version, file, DAMAGES[damage](file_store.get(name).data))
    with pytest.raises(ArtifactRefused, match=r"users\."):
        verify_artifact(file_store, version)


def _with(value: float) -> np.ndarray:
    array = make_model().item_vectors.copy()
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
def test_read_items_invalid_array_is_refused(file_store: ObjectStore, what: str) -> None:
    """A correct hash does not help an array that is not finite float32 of the stated shape."""
    version = store_model(file_store)
    forge(file_store, version, "item_vectors.npy", WRONG_ARRAYS[what])
    with pytest.raises(ArtifactRefused, match="item_vectors"):
        read_items(file_store, version)


@pytest.mark.parametrize(
    "ids",
    [b'["a"]', b"{}", b"not json", msgspec.json.encode(["a"] * 30), msgspec.json.encode(list(range(30)))],
)
def test_read_items_invalid_movie_ids_are_refused(file_store: ObjectStore, ids: bytes) -> None:
    """There must be as many distinct ids as movies."""
    version = store_model(file_store)
    forge(file_store, version, "movie_ids.json", ids)
    with pytest.raises(ArtifactRefused, match="movie_ids"):
        read_items(file_store, version)


def test_read_items_other_format_is_refused_with_advice(file_store: ObjectStore) -> None:
    """The message has the format found, the one that is read, and what to do."""
    version = store_model(file_store)
    name = object_name(version, "manifest.json")
    document = msgspec.json.decode(file_store.get(name).data)
    for found, advice in ((2, "update the program"), (0, "train a new model")):
        overwrite(file_store, version, "manifest.json", msgspec.json.encode({**document, "format": found}))
        with pytest.raises(ArtifactRefused, match=f"format {found} and this program reads format 1: {advice}"):
            read_items(file_store, version)
    overwrite(file_store, version, "manifest.json", msgspec.json.encode({"format": 2, "all": "new"}))
    with pytest.raises(ArtifactRefused, match="format 2"):
        read_items(file_store, version)


@pytest.mark.parametrize("document", [b"", b"{", b"[]", b'{"format":1}', b'{"format":"1"}', b"\xff"])
def test_read_items_malformed_manifest_is_refused(file_store: ObjectStore, document: bytes) -> None:
    """A malformed document raises ArtifactRefused and no other error."""
    version = store_model(file_store)
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
def test_read_items_inconsistent_manifest_is_refused(file_store: ObjectStore, change: dict[str, Any]) -> None:
    """Sizes that are not those of the files, or the manifest of another artifact."""
    version = store_model(file_store)
    change_manifest(file_store, version, lambda m: msgspec.structs.replace(m, **change))
    with pytest.raises(ArtifactRefused):
        read_items(file_store, version)
