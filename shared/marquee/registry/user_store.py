"""The user side of an artifact: found by hash, read by range, however many users there are.

``users.index`` holds, for each bucket, where its block lies in ``users.bin`` (u64) and its length
(u32), little endian; so one user costs two ranged reads and nothing is kept in memory. A block:

    u32 CRC-32 of what follows, begun with the bucket's number
    for each user of the bucket:
        u32 bytes in the id, u32 movies in the history (n), f4 bias, f4 vector[k]
        the id in UTF-8, filled with zeros to a multiple of 4
        u32 items[n], f4 ratings[n] (NaN: watched, not rated), f4 weights[n]
"""

from __future__ import annotations

import hashlib
import mmap
import struct
import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec
import numpy as np

from marquee.errors import ArtifactRefused, ObjectNotFound
from marquee.registry.manifest import Manifest, object_name
from marquee.registry.object_store.object_store import Mappable, Mapping, ObjectStore, mapping
from marquee.scoring.arrays import Floats

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from marquee.registry.trained_model import TrainedModel

INDEX, BLOCKS = "users.index", "users.bin"
USERS_PER_BUCKET = 4
_ENTRY = np.dtype([("offset", "<u8"), ("length", "<u4")])
_FORGET_AFTER = 64  # Reads of a mapped file: each may bring half a megabyte around it along.
_HEADER = struct.Struct("<II")


class UserRecord(msgspec.Struct, frozen=True):
    """What the artifact knows of one user."""

    user_id: str
    bias: float
    vector: Floats  # [k]
    items: NDArray[np.uint32]  # [n] rows of the item side
    ratings: Floats  # [n]; NaN where the movie was watched and not rated
    weights: Floats  # [n] for the ranking head


def bucket_of(user_id: str, buckets: int) -> int:
    """The bucket that holds the user, if the artifact knows him."""
    return int.from_bytes(hashlib.sha256(user_id.encode()).digest()[:8], "big") % buckets


class UserStore:
    """Reads single users of one artifact."""

    def __init__(self, store: ObjectStore | Mappable, manifest: Manifest) -> None:
        self._store = store
        self._map = mapping(store)
        self._manifest = manifest
        self._maps: dict[str, memoryview] = {}
        self._read = 0

    def read(self, user_id: str) -> UserRecord | None:
        """What is stored of the user, or None if he is not known.

        Raises :class:`ArtifactRefused` where the bytes are not the ones written, and the store's errors.
        """
        try:
            bucket = bucket_of(user_id, self._manifest.buckets)
        except UnicodeEncodeError:
            return None  # No user that was ever written.
        block = self._block(bucket)
        wanted = user_id.encode()
        try:
            for record_id, start, count in _records(block, self._manifest.k):
                if record_id == wanted:
                    return self._record(user_id, block, start, count)
        except (struct.error, ValueError) as error:
            raise self._corrupt(bucket) from error
        return None

    def check_sizes(self) -> None:
        """Raise :class:`ArtifactRefused` if a file of the user side was cut short or is too long."""
        for file in (INDEX, BLOCKS):
            size = self._manifest.files[file].size
            if len(self._range(file, max(size - 1, 0), 2)) != min(size, 1):
                raise ArtifactRefused(
                    f"{file} of {self._manifest.version} has not the {size} bytes it should"
                )

    def _block(self, bucket: int) -> memoryview:
        """The records of a bucket, after its checksum was found right."""
        entry = self._range(INDEX, bucket * _ENTRY.itemsize, _ENTRY.itemsize)
        if len(entry) != _ENTRY.itemsize:
            raise self._corrupt(bucket)
        offset, length = struct.unpack("<QI", entry)
        if offset + length > self._manifest.files[BLOCKS].size:
            raise self._corrupt(bucket)
        block = self._range(BLOCKS, offset, length)
        if len(block) != length or length < 4 or block[:4] != _checksum(block[4:], bucket):
            raise self._corrupt(bucket)
        return block[4:]

    def _record(self, user_id: str, block: memoryview, start: int, count: int) -> UserRecord:
        k = self._manifest.k
        floats = np.frombuffer(block, "<f4", 1 + k, start + _HEADER.size)
        history = start + _HEADER.size + 4 * (1 + k) + _padded(len(user_id.encode()))
        items = np.frombuffer(block, "<u4", count, history)
        if count and int(items.max()) >= self._manifest.n_items:
            raise ArtifactRefused(f"user {user_id} of {self._manifest.version} has movies that do not exist")
        ratings, weights = np.frombuffer(block, "<f4", 2 * count, history + 4 * count).reshape(2, count)
        return UserRecord(user_id, float(floats[0]), floats[1:], items, ratings, weights)

    def _range(self, file: str, start: int, length: int) -> memoryview:
        name = object_name(self._manifest.version, file)
        try:
            if self._map:
                return self._mapped(self._map, file, name)[start : start + length]
            return memoryview(cast("ObjectStore", self._store).read_range(name, start, length))
        except ObjectNotFound as error:
            raise ArtifactRefused(f"{name} is missing") from error

    def _mapped(self, mapped: Mapping, file: str, name: str) -> memoryview:
        """The system reads only what is touched, but would count it as ours as long as we live."""
        self._read += 1
        if self._read % _FORGET_AFTER == 0:
            for view in list(self._maps.values()):
                if isinstance(view.obj, mmap.mmap):
                    view.obj.madvise(mmap.MADV_DONTNEED)  # What is read again comes back.
        if file not in self._maps:
            self._maps[file] = mapped(name)
        return self._maps[file]

    def _corrupt(self, bucket: int) -> ArtifactRefused:
        return ArtifactRefused(f"bucket {bucket} of the users of {self._manifest.version} is corrupt")


def _records(block: memoryview, k: int) -> Iterator[tuple[bytes, int, int]]:
    """The id, the place and the number of movies of each record."""
    start = 0
    while start < len(block):
        id_bytes, count = _HEADER.unpack_from(block, start)
        id_start = start + _HEADER.size + 4 * (1 + k)
        yield bytes(block[id_start : id_start + id_bytes]), start, count
        start = id_start + _padded(id_bytes) + 12 * count


def _padded(size: int) -> int:
    return size + -size % 4


def _checksum(body: bytes | memoryview, bucket: int) -> bytes:
    return zlib.crc32(body, bucket & 0xFFFFFFFF).to_bytes(4, "little")


def write_users(model: TrainedModel, directory: Path) -> int:
    """Write both files into ``directory``; returns the number of buckets.

    One block at a time goes out, so that beside the model it needs a few dozen bytes a user.
    """
    buckets = max(1, len(model.user_ids) // USERS_PER_BUCKET)
    bucket = np.fromiter((_bucket_for_writing(u, buckets) for u in model.user_ids), np.int64)
    order = np.argsort(bucket, kind="stable")
    edges = np.searchsorted(bucket[order], np.arange(buckets + 1))
    index = np.zeros(buckets, _ENTRY)
    offset, pack = 0, _packer(model)
    with (directory / BLOCKS).open("wb", buffering=1 << 20) as out:
        for b, (first, last) in enumerate(pairwise(edges.tolist())):
            users = order[first:last].tolist()
            _refuse_twins(model, users)
            body = b"".join(piece for user in users for piece in pack(user))
            index[b] = (offset, 4 + len(body))
            offset += out.write(_checksum(body, b) + body)
    (directory / INDEX).write_bytes(index.tobytes())
    return buckets


def _bucket_for_writing(user_id: str, buckets: int) -> int:
    try:
        return bucket_of(user_id, buckets)
    except UnicodeEncodeError as error:
        raise ArtifactRefused(f"user id {user_id!r} is not text that UTF-8 can hold") from error


def _refuse_twins(model: TrainedModel, users: list[int]) -> None:
    ids = [model.user_ids[u] for u in users]
    if len(set(ids)) != len(ids):  # The same id is always in the same bucket.
        raise ArtifactRefused(f"a user id occurs twice, one of {sorted(ids)}")


class _packer:
    """Cuts the model's arrays into the pieces of one user's record, without copying them."""

    def __init__(self, model: TrainedModel) -> None:
        self._ids = model.user_ids
        self._k = model.user_vectors.shape[1]
        self._biases, self._vectors = _bytes(model.user_biases, "<f4"), _bytes(model.user_vectors, "<f4")
        self._indptr = model.histories.indptr
        self._history = (
            _bytes(model.histories.items, "<u4"),
            _bytes(model.histories.ratings, "<f4"),
            _bytes(model.histories.weights, "<f4"),
        )

    def __call__(self, user: int) -> Iterator[bytes | memoryview]:
        user_id = self._ids[user].encode()
        first, last = int(self._indptr[user]), int(self._indptr[user + 1])
        yield _HEADER.pack(len(user_id), last - first)
        yield self._biases[4 * user : 4 * user + 4]
        yield self._vectors[4 * self._k * user : 4 * self._k * (user + 1)]
        yield user_id.ljust(_padded(len(user_id)), b"\0")
        for column in self._history:
            yield column[4 * first : 4 * last]


def _bytes(array: NDArray[np.generic], dtype: str) -> memoryview:
    return np.ascontiguousarray(array, dtype).reshape(-1).view(np.uint8).data
