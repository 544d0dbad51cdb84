"""The item side of an artifact, read whole: every byte of it checked before it serves.

Apart from what writes artifacts, since an answer needs none of that.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.lib import format as npy

from marquee.errors import ArtifactRefused, ObjectNotFound
from marquee.registry.item_factors import ItemFactors
from marquee.registry.manifest import Manifest, object_name, read_manifest
from marquee.registry.object_store.object_store import ObjectStore, mapping
from marquee.scoring.arrays import Floats, check_array, item_shapes

MOVIE_IDS = "movie_ids.json"
COHORTS, COHORT_SCORES = "cohorts.json", "cohort_scores"
_READERS = 4

Files: TypeAlias = "Callable[[str], memoryview]"
"""The bytes of a file, found right."""


def read_items(store: ObjectStore, version: str) -> ItemFactors:
    """The item side of an artifact, every byte of it checked against the manifest.

    Raises ``ObjectNotFound`` if there is no such artifact and :class:`ArtifactRefused` if it must not serve.
    """
    manifest = read_manifest(store, version)
    optional = (COHORTS, npy_file(COHORT_SCORES)) if COHORTS in manifest.files else ()
    names = (MOVIE_IDS, *map(npy_file, shapes_of(manifest)), *optional)
    if mapping(store):
        # Nothing to wait for; and files that are hashed side by side take longer than one by one.
        return _assembled(manifest, partial(_read, store, manifest))
    with ThreadPoolExecutor(_READERS) as readers:
        reading = {file: readers.submit(_read, store, manifest, file) for file in names}
        try:
            # What has come is looked at while the rest is on its way.
            return _assembled(manifest, lambda file: reading[file].result())
        finally:
            readers.shutdown(wait=False, cancel_futures=True)


def _assembled(manifest: Manifest, files: Files) -> ItemFactors:
    movie_ids = _texts(MOVIE_IDS, files)
    items = _rows(manifest, movie_ids)
    shapes = shapes_of(manifest).items()
    arrays = {name: _array(name, files(npy_file(name)), shape) for name, shape in shapes}
    side = ItemFactors(manifest, movie_ids, items, **arrays)  # type: ignore[arg-type]  # All of it arrays.
    return _with_cohorts(side, files) if COHORTS in manifest.files else side


def _with_cohorts(side: ItemFactors, files: Files) -> ItemFactors:
    names = _texts(COHORTS, files)
    scores = _array(COHORT_SCORES, files(npy_file(COHORT_SCORES)), (len(names), side.manifest.n_items))
    return msgspec.structs.replace(
        side, cohorts={name: row for row, name in enumerate(names)}, cohort_scores=scores
    )


def shapes_of(manifest: Manifest) -> dict[str, tuple[int, ...]]:
    return item_shapes(manifest.n_items, manifest.k, manifest.r)


def npy_file(name: str) -> str:
    return f"{name}.npy"


def make_item_factors(
    manifest: Manifest, movie_ids: tuple[str, ...], arrays: dict[str, Floats]
) -> ItemFactors:
    items = _rows(manifest, movie_ids)
    return ItemFactors(manifest, movie_ids, items, **arrays)  # type: ignore[arg-type]  # As above.


def _rows(manifest: Manifest, movie_ids: tuple[str, ...]) -> dict[str, int]:
    items = dict(zip(movie_ids, range(len(movie_ids)), strict=True))
    if len(items) != len(movie_ids) or len(items) != manifest.n_items or "" in items:
        raise ArtifactRefused(f"{MOVIE_IDS} should hold {manifest.n_items} distinct ids")
    return items


def _read(store: ObjectStore, manifest: Manifest, file: str) -> memoryview:
    name, entry = object_name(manifest.version, file), manifest.files.get(file)
    if entry is None:
        raise ArtifactRefused(f"the manifest of {manifest.version} does not name {file}")
    try:
        mapped = mapping(store)
        data = mapped(name) if mapped else memoryview(store.get(name).data)
    except ObjectNotFound as error:
        raise ArtifactRefused(f"{name} is missing") from error
    if len(data) != entry.size:
        raise ArtifactRefused(f"{name} has {len(data)} bytes, not {entry.size}")
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise ArtifactRefused(f"{name} has not the hash that the manifest names")
    return data


def _array(name: str, data: memoryview, shape: tuple[int, ...]) -> Floats:
    """The array over ``data`` itself: nothing is copied."""
    head = io.BytesIO(data[:4096])
    try:
        major = npy.read_magic(head)[0]
        if major != 1:
            raise ValueError(f"version {major} of the npy format")
        found, fortran, dtype = npy.read_array_header_1_0(head)
        if fortran or dtype != np.dtype("<f4") or found != shape:
            raise ValueError(f"{dtype}{list(found)}")
        array: Floats = np.frombuffer(data, "<f4", offset=head.tell()).reshape(shape)
    except ValueError as error:
        raise ArtifactRefused(f"{name} should be float32{list(shape)}, row by row: {error}") from error
    check_array(name, array, shape)
    return array


def _texts(file: str, files: Files) -> tuple[str, ...]:
    try:
        return msgspec.json.decode(files(file), type=tuple[str, ...])
    except msgspec.MsgspecError as error:
        raise ArtifactRefused(f"{file} should be a list of texts: {error}") from error
