"""Store of an artifact's users, addressed by hash and read by range.

Memory therefore does not grow with the number of users.

``users.index`` holds the offset (u64) and the length (u32) of each bucket's block in ``users.bin``, little endian. One
user therefore costs two ranged reads. A block:

    u32 CRC-32 of the rest of the block, initialized with the bucket number
    for each user of the bucket:
        u32 bytes in the id, u32 items in the history (n), f4 bias, f4 vector[k]
        the id in UTF-8, padded with zeros to a multiple of 4
        u32 items[n], f4 ratings[n] (NaN: watched, not rated), f4 weights[n]
"""

from __future__ import annotations

import hashlib
import mmap
import struct
import zlib
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec
import numpy as np

from marquee.errors import ArtifactRefused, ObjectNotFound
from marquee.registry.manifest import Manifest, object_name
from marquee.registry.object_store.object_store import Mappable, Mapper, ObjectStore, get_mapper
from marquee.scoring.arrays import Floats

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from marquee.registry.trained_model import TrainedModel

INDEX, BLOCKS = "users.index", "users.bin"
USERS_PER_BUCKET = 4
_ENTRY = np.dtype([("offset", "<u8"), ("length", "<u4")])
# Reads of a mapped file between two releases of its pages. A read can map half a megabyte around it.
_READS_PER_RELEASE = 64
_HEADER = struct.Struct("<II")


class UserRecord(msgspec.Struct, frozen=True, eq=False):
    """Stored data of one user. Records are compared by identity."""

    user_id: str
    bias: float
    vector: Floats  # [k]
    items: NDArray[np.uint32]  # [n] item rows
    ratings: Floats  # [n]; NaN where the item was watched and not rated
    weights: Floats  # [n] of the ranking model


def user_bucket(user_id: str, buckets: int) -> int:
    """Return the number of the bucket that holds the user, if the artifact has the user."""
    return int.from_bytes(hashlib.sha256(user_id.encode()).digest()[:8], "big") % buckets


class UserStore:
    """Reader of single users of one artifact."""

    def __init__(self, store: ObjectStore | Mappable, manifest: Manifest) -> None:
        self._store = store
        self._mapper = get_mapper(store)
        self._manifest = manifest
        self._mapped_files: dict[str, memoryview] = {}
        self._n_mapped_reads = 0

    def read(self, user_id: str) -> UserRecord | None:
        """Return the record of the user, or None if the artifact has none.

        Raises :class:`ArtifactRefused` if the stored bytes are corrupt, and the store's errors.
        """
        try:
            bucket = user_bucket(user_id, self._manifest.buckets)
        except UnicodeEncodeError:
            return None  # No writer accepts such an id.
        block = self._read_block(bucket)
        encoded_id = user_id.encode()
        try:
            for record_id, start, count in _iter_records(block, self._manifest.rating_rank):
                if record_id == encoded_id:
                    return self._parse_record(user_id, block, start, count)
        except (struct.error, ValueError) as error:
            raise self._make_refusal(bucket) from error
        return None

    def check_sizes(self) -> None:
        """Raise :class:`ArtifactRefused` if a file is shorter or longer than the manifest says."""
        for file in (INDEX, BLOCKS):
            size = self._manifest.files[file].size
            if len(self._read_range(file, max(size - 1, 0), 2)) != min(size, 1):
                raise ArtifactRefused(f"{file} of {self._manifest.version} is not {size} bytes long")

    def _read_block(self, bucket: int) -> memoryview:
        """Return the records of a bucket, with the checksum verified."""
        entry = self._read_range(INDEX, bucket * _ENTRY.itemsize, _ENTRY.itemsize)
        if len(entry) != _ENTRY.itemsize:
            raise self._make_refusal(bucket)
        offset, length = struct.unpack("<QI", entry)
        if offset + length > self._manifest.files[BLOCKS].size:
            raise self._make_refusal(bucket)
        block = self._read_range(BLOCKS, offset, length)
        if len(block) != length or length < 4 or block[:4] != _checksum(block[4:], bucket):
            raise self._make_refusal(bucket)
        return block[4:]

    def _parse_record(self, user_id: str, block: memoryview, start: int, count: int) -> UserRecord:
        k = self._manifest.rating_rank
        floats = np.frombuffer(block, "<f4", 1 + k, start + _HEADER.size)
        history = start + _HEADER.size + 4 * (1 + k) + _padded(len(user_id.encode()))
        items = np.frombuffer(block, "<u4", count, history)
        if count and int(items.max()) >= self._manifest.n_items:
            raise ArtifactRefused(f"user {user_id} of {self._manifest.version} has movies that do not exist")
        ratings, weights = np.frombuffer(block, "<f4", 2 * count, history + 4 * count).reshape(2, count)
        return UserRecord(user_id, float(floats[0]), floats[1:], items, ratings, weights)

    def _read_range(self, file: str, start: int, length: int) -> memoryview:
        name = object_name(self._manifest.version, file)
        try:
            if self._mapper:
                return _copy_range(self._map_file(self._mapper, file, name), start, length)
            return memoryview(cast("ObjectStore", self._store).read_range(name, start, length))
        except ObjectNotFound as error:
            raise ArtifactRefused(f"{name} is missing") from error

    def _map_file(self, mapper: Mapper, file: str, name: str) -> memoryview:
        """Return the mapped file. Pages that were read count as resident memory until they are released."""
        self._n_mapped_reads += 1
        if self._n_mapped_reads % _READS_PER_RELEASE == 0:
            for view in list(self._mapped_files.values()):
                if isinstance(view.obj, mmap.mmap):
                    view.obj.madvise(mmap.MADV_DONTNEED)  # Later reads load the pages again.
        if file not in self._mapped_files:
            self._mapped_files[file] = mapper(name)
        return self._mapped_files[file]

    def _make_refusal(self, bucket: int) -> ArtifactRefused:
        return ArtifactRefused(f"user bucket {bucket} of artifact {self._manifest.version} is corrupt")


def _copy_range(view: memoryview, start: int, length: int) -> memoryview:
    """Return a copy, which cannot change after it was checked. Reading past the end of a cut file would be SIGBUS."""
    end = start + length
    if isinstance(view.obj, mmap.mmap):
        end = min(end, view.obj.size())  # Of the file now, not when it was mapped.
    return memoryview(bytes(view[start:end]))


def _iter_records(block: memoryview, k: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the id, the offset and the number of items of each record."""
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


def write_users(model: TrainedModel, directory: Path, span: tuple[int, int, int] | None = None) -> int:
    """Write both files into ``directory`` and return the number of buckets.

    Blocks are written one at a time, so the call needs only a few dozen bytes a user beside the model. ``span`` says
    that the users are those of some buckets only: the first, the one after the last, and the number of all.
    """
    first_bucket, end, buckets = span or (0, *[count_buckets(len(model.user_ids))] * 2)
    bucket = np.fromiter((_bucket_or_refuse(u, buckets) for u in model.user_ids), np.int64)
    order = np.argsort(bucket, kind="stable")
    edges = np.searchsorted(bucket[order], np.arange(first_bucket, end + 1))
    if edges[-1] - edges[0] != len(bucket):
        raise ValueError(f"there are users of other buckets than {first_bucket} to {end - 1} of {buckets}")
    index = np.zeros(end - first_bucket, _ENTRY)
    offset, encoder = 0, _RecordEncoder(model)
    with (directory / BLOCKS).open("wb", buffering=1 << 20) as out:
        for b, (first, last) in enumerate(pairwise(edges.tolist())):
            users = order[first:last].tolist()
            _check_distinct(model, users)
            body = b"".join(piece for user in users for piece in encoder.encode(user))
            index[b] = (offset, 4 + len(body))
            offset += out.write(_checksum(body, first_bucket + b) + body)
    (directory / INDEX).write_bytes(index.tobytes())
    return buckets


def count_buckets(n_users: int) -> int:
    """Return the number of buckets of an artifact with ``n_users`` users."""
    return max(1, n_users // USERS_PER_BUCKET)


def append_users(directory: Path, index: bytes, blocks: Iterable[bytes]) -> None:
    """Append the files of the next buckets to those in ``directory``; the first call writes them."""
    path = directory / BLOCKS
    entries = np.frombuffer(index, _ENTRY).copy()
    entries["offset"] += np.uint64(path.stat().st_size if path.exists() else 0)
    with path.open("ab") as out:
        out.writelines(blocks)
    with (directory / INDEX).open("ab") as out:
        out.write(entries.tobytes())


def _bucket_or_refuse(user_id: str, buckets: int) -> int:
    try:
        return user_bucket(user_id, buckets)
    except UnicodeEncodeError as error:
        raise ArtifactRefused(f"user id {user_id!r} cannot be encoded as UTF-8") from error


def _check_distinct(model: TrainedModel, users: list[int]) -> None:
    ids = [model.user_ids[u] for u in users]
    if len(set(ids)) != len(ids):  # Equal ids share a bucket.
        raise ArtifactRefused(f"a user id occurs twice, one of {sorted(ids)}")


class _RecordEncoder:
    """Encoder of user records, which yields views of the model's arrays without copying them."""

    def __init__(self, model: TrainedModel) -> None:
        self._ids = model.user_ids
        self._k = model.user_vectors.shape[1]
        self._biases = _as_bytes(model.user_biases, "<f4")
        self._vectors = _as_bytes(model.user_vectors, "<f4")
        self._indptr = model.histories.indptr
        self._history = (
            _as_bytes(model.histories.items, "<u4"),
            _as_bytes(model.histories.ratings, "<f4"),
            _as_bytes(model.histories.weights, "<f4"),
        )

    def encode(self, user: int) -> Iterator[bytes | memoryview]:
        user_id = self._ids[user].encode()
        first, last = int(self._indptr[user]), int(self._indptr[user + 1])
        yield _HEADER.pack(len(user_id), last - first)
        yield self._biases[4 * user : 4 * user + 4]
        yield self._vectors[4 * self._k * user : 4 * self._k * (user + 1)]
        yield user_id.ljust(_padded(len(user_id)), b"\0")
        for column in self._history:
            yield column[4 * first : 4 * last]


def _as_bytes(array: NDArray[np.generic], dtype: str) -> memoryview:
    return np.ascontiguousarray(array, dtype).reshape(-1).view(np.uint8).data
