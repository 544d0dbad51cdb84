"""Reader of an artifact's item factors, which verifies every byte before it is used.

Kept apart from the writer of artifacts, whose imports serving does not need.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.lib import format as npy

from marquee.errors import ArtifactRefused, ObjectNotFound
from marquee.registry.item_factors import ItemFactors
from marquee.registry.json_document import MalformedDocument, decode_json
from marquee.registry.manifest import Manifest, decode_manifest, object_name, read_manifest_bytes
from marquee.registry.movie_metadata import METADATA, MetadataFile
from marquee.registry.object_store.object_store import BufferReader, ObjectStore, get_buffer_reader
from marquee.scoring.arrays import Floats, check_array, item_shapes

MOVIE_IDS = "movie_ids.json"
COHORTS, COHORT_SCORES = "cohorts.json", "cohort_scores"
PRIOR_IMPLICIT = "prior_implicit"
TREND = "trend"
_ARRAY = ".npy"
_READERS, _LOCAL_READERS = 4, 2
"""Threads that read files. Where there is no network to wait for, more would contend for Python's global lock."""

_CACHE_LINE = 64  # The header of an npy file has a multiple of that.

FileReader: TypeAlias = "Callable[[str], memoryview]"
"""Function from the name of a file to its verified bytes."""

ObjectReader: TypeAlias = "Callable[[str], bytes | memoryview]"
"""Function from the name of an object to its bytes."""


def read_items(store: ObjectStore, version: str) -> ItemFactors:
    """Return the item factors of an artifact, verified against the hashes of its manifest.

    Raises ``ObjectNotFound`` if there is no such artifact and :class:`ArtifactRefused` if it must not serve.
    """
    document = read_manifest_bytes(store, version)
    manifest = decode_manifest(document, version)
    optional = (file for file in _OPTIONAL_FILES if file in manifest.files)
    names = (MOVIE_IDS, *map(npy_name, array_shapes(manifest)), *optional)
    read_into = get_buffer_reader(store)
    read: ObjectReader = _LocalReader(read_into, manifest, names) if read_into else lambda name: store.get(name).data
    with ThreadPoolExecutor(_LOCAL_READERS if read_into else _READERS) as readers:
        downloads = {file: readers.submit(_read_verified, read, manifest, file) for file in names}
        try:
            # Files that have arrived are parsed while the others are read.
            factors = _assemble(manifest, lambda file: downloads[file].result())
        finally:
            readers.shutdown(wait=False, cancel_futures=True)
    return msgspec.structs.replace(factors, manifest_sha256=hashlib.sha256(document).hexdigest())


def _assemble(manifest: Manifest, read: FileReader) -> ItemFactors:
    movie_ids = _parse_strings(MOVIE_IDS, read)
    items = _index_movies(manifest, movie_ids)
    shapes = array_shapes(manifest).items()
    arrays = {name: _parse_array(name, read(npy_name(name)), shape) for name, shape in shapes}
    factors = ItemFactors(manifest, movie_ids, items, **arrays)  # type: ignore[arg-type]  # All are arrays.
    if COHORTS in manifest.files:
        factors = _add_cohorts(factors, read)
    if npy_name(PRIOR_IMPLICIT) in manifest.files:
        shape = (manifest.n_items, manifest.rating_rank + 1)
        implicit = _parse_array(PRIOR_IMPLICIT, read(npy_name(PRIOR_IMPLICIT)), shape)
        factors = msgspec.structs.replace(factors, prior_implicit=implicit)
    if METADATA in manifest.files:
        factors = msgspec.structs.replace(factors, metadata_file=MetadataFile(read(METADATA), manifest.n_items))
    if npy_name(TREND) in manifest.files:
        factors = msgspec.structs.replace(factors, trend=_parse_trend(read, manifest.n_items))
    return factors


def _parse_trend(read: FileReader, n_items: int) -> Floats:
    trend = _parse_array(TREND, read(npy_name(TREND)), (n_items,))
    if not (trend > 0).all():
        raise ArtifactRefused(f"{TREND} must be above 0")
    return trend


def _add_cohorts(factors: ItemFactors, read: FileReader) -> ItemFactors:
    names = _parse_strings(COHORTS, read)
    shape = (len(names), factors.manifest.n_items)
    scores = _parse_array(COHORT_SCORES, read(npy_name(COHORT_SCORES)), shape)
    return msgspec.structs.replace(factors, cohorts={name: row for row, name in enumerate(names)}, cohort_scores=scores)


def array_shapes(manifest: Manifest) -> dict[str, tuple[int, ...]]:
    """Return the shape of each item array of an artifact."""
    return item_shapes(manifest.n_items, manifest.rating_rank, manifest.ranking_rank)


def npy_name(array: str) -> str:
    """Return the name of the file that holds an array."""
    return array + _ARRAY


_OPTIONAL_FILES = (COHORTS, npy_name(COHORT_SCORES), npy_name(PRIOR_IMPLICIT), METADATA, npy_name(TREND))


def make_item_factors(manifest: Manifest, movie_ids: tuple[str, ...], arrays: dict[str, Floats]) -> ItemFactors:
    """Return item factors of arrays in memory. Raises :class:`ArtifactRefused` if a movie id is repeated."""
    items = _index_movies(manifest, movie_ids)
    return ItemFactors(manifest, movie_ids, items, **arrays)  # type: ignore[arg-type]  # All are arrays.


def _index_movies(manifest: Manifest, movie_ids: tuple[str, ...]) -> dict[str, int]:
    items = dict(zip(movie_ids, range(len(movie_ids)), strict=True))
    if len(items) != len(movie_ids) or len(items) != manifest.n_items or "" in items:
        raise ArtifactRefused(
            f"{MOVIE_IDS} has {len(movie_ids)} ids; it must hold {manifest.n_items} distinct ones, none of them empty"
        )
    return items


def _read_verified(read: ObjectReader, manifest: Manifest, file: str) -> memoryview:
    name, entry = object_name(manifest.version, file), manifest.files.get(file)
    if entry is None:
        raise ArtifactRefused(f"the manifest of {manifest.version} does not name {file}")
    try:
        data = memoryview(read(name))
    except ObjectNotFound as error:
        raise ArtifactRefused(f"{name} is missing") from error
    if len(data) != entry.size:
        raise ArtifactRefused(f"{name} has {len(data)} bytes, not {entry.size}")
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise ArtifactRefused(f"the hash of {name} differs from the one in the manifest")
    return data


class _LocalReader:
    """Reader of an artifact's local files into read-only copies.

    Copies, because a file that is changed or cut later must not change what was verified. The arrays share one buffer,
    whose large pages Linux fills in less than half the time. Each begins at a cache line, which products of vectors
    profit from.
    """

    def __init__(self, read_into: BufferReader, manifest: Manifest, files: Iterable[str]) -> None:
        self._read_into = read_into
        # One byte more than its size shows that a file is longer.
        lengths = {file: manifest.files[file].size + 1 for file in files if file in manifest.files}
        arrays = [file for file in lengths if file.endswith(_ARRAY)]
        starts = [0, *accumulate(_round_up(lengths[file]) for file in arrays)]
        buffer = np.empty(starts[-1] + _CACHE_LINE, np.uint8)
        buffer = buffer[-buffer.ctypes.data % _CACHE_LINE :]
        self._slots = {file: np.empty(length, np.uint8) for file, length in lengths.items() if file not in arrays}
        for file, start in zip(arrays, starts, strict=False):
            self._slots[file] = buffer[start : start + lengths[file]]

    def __call__(self, name: str) -> memoryview:
        """Return the bytes of an object."""
        slot = self._slots[name.rpartition("/")[2]]
        data = slot[: self._read_into(name, slot.data)]
        data.flags.writeable = False
        return data.data


def _round_up(length: int) -> int:
    return -(-length // _CACHE_LINE) * _CACHE_LINE


def _parse_array(name: str, data: memoryview, shape: tuple[int, ...]) -> Floats:
    """Return an array over ``data`` itself, without a copy."""
    head = io.BytesIO(data[:4096])
    try:
        major = npy.read_magic(head)[0]
        if major != 1:
            raise ValueError(f"version {major} of the npy format")
        actual_shape, fortran, dtype = npy.read_array_header_1_0(head)
        if fortran or dtype != np.dtype("<f4") or actual_shape != shape:
            raise ValueError(f"{dtype}{list(actual_shape)}{' in Fortran order' if fortran else ''}")
        array: Floats = np.frombuffer(data, "<f4", offset=head.tell()).reshape(shape)
    except ValueError as error:
        raise ArtifactRefused(f"{name} must be float32{list(shape)} in C order; got {error}") from error
    check_array(name, array, shape)
    return array


def _parse_strings(file: str, read: FileReader) -> tuple[str, ...]:
    try:
        return decode_json(read(file), tuple[str, ...])
    except MalformedDocument as error:
        raise ArtifactRefused(f"{file} must be a list of strings: {error}") from error
