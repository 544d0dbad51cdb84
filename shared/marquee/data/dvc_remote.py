"""DVC remote on top of the object stores.

DVC names content by its MD5: ``files/md5/ab/cdef...``, and a directory by the MD5 of its listing with ``.dir``
appended. The scheduled job writes its snapshot in this layout, without DVC or a repository, to any URL that can hold
artifacts. ``dvc pull`` finds it there, and :func:`fetch` finds content from ``dvc push``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from marquee.config.atomic_file import atomic_directory, atomic_path
from marquee.errors import ObjectNotFound, PreconditionFailed, TrainingDataError
from marquee.registry.object_store.object_store import ObjectStore

FILES = "files/md5/"
_CHUNK_BYTES = 8 << 20


def push(store: ObjectStore, path: Path) -> str:
    """Store a file, or a directory with all its files, and return its hash.

    The listing is written last: if a hash exists, all of its content exists, even after a kill.
    """
    if path.is_file():
        return _put(store, hash_file(path), path)
    for _, file in iterate_files(path):
        _put(store, hash_file(file), file)
    listing = directory_listing(path)
    return _put(store, f"{hashlib.md5(listing).hexdigest()}.dir", listing)


def contains(store: ObjectStore, digest: str) -> bool:
    """Return True if the remote holds the content ``digest``."""
    try:
        store.read_range(object_name(digest), 0, 1)
    except ObjectNotFound:
        return False
    return True


def fetch(store: ObjectStore, digest: str, path: Path, only: Collection[str] | None = None) -> None:
    """Write the content ``digest`` to ``path`` atomically, after checking every byte.

    Of a directory, ``only`` names the files that are fetched.

    Raises ``ObjectNotFound``, and :class:`TrainingDataError` for content with another hash.
    """
    if not digest.endswith(".dir"):
        with atomic_path(path) as out:
            _download(store, digest, out)
        return
    with atomic_directory(path) as out:
        for entry in json.loads(_read_listing(store, digest)):
            if only is not None and entry["relpath"] not in only:
                continue
            _download(store, entry["md5"], out / _check_relative(entry["relpath"], digest))


def _put(store: ObjectStore, digest: str, data: Path | bytes) -> str:
    if not contains(store, digest):
        try:
            store.put_new(object_name(digest), data)
        except PreconditionFailed:
            pass  # A concurrent run stored the same content.
    return digest


def _read_listing(store: ObjectStore, digest: str) -> bytes:
    data = store.get(object_name(digest)).data
    if f"{hashlib.md5(data).hexdigest()}.dir" != digest:
        raise _corrupt(digest)
    return data


def _download(store: ObjectStore, digest: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    md5, start = hashlib.md5(), 0
    with path.open("wb") as out:
        while chunk := store.read_range(object_name(digest), start, _CHUNK_BYTES):
            out.write(chunk)
            md5.update(chunk)
            start += len(chunk)
    if md5.hexdigest() != digest:
        raise _corrupt(digest)


def _check_relative(relpath: str, digest: str) -> str:
    parts = PurePosixPath(relpath).parts
    if not parts or ".." in parts or relpath.startswith("/"):
        raise TrainingDataError(f"{digest} lists {relpath!r}, which is outside its directory")
    return relpath


def object_name(digest: str) -> str:
    """Return the name under which a remote holds the content ``digest``."""
    return f"{FILES}{digest[:2]}/{digest[2:]}"


def _corrupt(digest: str) -> TrainingDataError:
    return TrainingDataError(f"the content of {digest} in the remote has another hash: it is damaged")


def hash_path(path: Path) -> str:
    """Return the MD5 of a file, or of a directory's listing with ``.dir`` appended, as in ``dvc.lock``."""
    if path.is_file():
        return hash_file(path)
    return hashlib.md5(directory_listing(path)).hexdigest() + ".dir"


def hash_file(path: Path, algorithm: str = "md5") -> str:
    """Return the hash of a file's bytes, by default the MD5 that DVC uses."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def directory_listing(directory: Path) -> bytes:
    """Return the JSON that DVC stores for a directory: hash and relative name of each file, in order of name."""
    entries = [{"md5": hash_file(path), "relpath": name} for name, path in iterate_files(directory)]
    return json.dumps(entries, sort_keys=True).encode()


def iterate_files(directory: Path) -> Iterator[tuple[str, Path]]:
    """Yield the relative name and path of every file below ``directory``, in order of name."""
    paths = (path for path in directory.rglob("*") if path.is_file())
    yield from sorted((path.relative_to(directory).as_posix(), path) for path in paths)
