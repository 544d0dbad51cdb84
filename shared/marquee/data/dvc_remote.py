"""A DVC remote, read and written through our own object stores.

What DVC keeps is named by its MD5: ``files/md5/ab/cdef...``, a directory by its listing with ``.dir`` behind.
The scheduled job writes its snapshot in that form with neither DVC nor a repository around it, to any URL
that artifacts can be kept at; ``dvc pull`` finds it there, and we find what ``dvc push`` put there.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path, PurePosixPath

from marquee.registry.object_store.object_store import ObjectStore
from marquee.errors import ObjectNotFound, PreconditionFailed, TrainingDataError
from marquee.data import dvc_hash
from marquee.config.atomic_file import atomic_path, atomic_directory

_PIECE = 8 << 20


def push(store: ObjectStore, path: Path) -> str:
    """Keep a file, or a directory with all its files; returns the hash it is found by.

    The listing comes last: a hash that can be found can be fetched, whenever this is killed.
    """
    if path.is_file():
        return _put(store, dvc_hash.hash_file(path), path)
    for _, file in dvc_hash.files(path):
        _put(store, dvc_hash.hash_file(file), file)
    listing = dvc_hash.directory_listing(path)
    return _put(store, f"{hashlib.md5(listing).hexdigest()}.dir", listing)


def contains(store: ObjectStore, content: str) -> bool:
    """Whether the remote has this hash."""
    try:
        store.read_range(_name(content), 0, 1)
    except ObjectNotFound:
        return False
    return True


def fetch(store: ObjectStore, content: str, path: Path) -> None:
    """Put what was kept as ``content`` at ``path``, whole, every byte checked.

    Raises ``ObjectNotFound``, and :class:`TrainingDataError` for bytes that are not those of the hash.
    """
    if not content.endswith(".dir"):
        with atomic_path(path) as out:
            _get(store, content, out)
        return
    with atomic_directory(path) as out:
        for entry in json.loads(_listing(store, content)):
            _get(store, entry["md5"], out / _inside(entry["relpath"], content))


def _put(store: ObjectStore, content: str, data: Path | bytes) -> str:
    if not contains(store, content):
        try:
            store.put_new(_name(content), data)
        except PreconditionFailed:
            pass  # Another run keeps the same.
    return content


def _listing(store: ObjectStore, content: str) -> bytes:
    data = store.get(_name(content)).data
    if f"{hashlib.md5(data).hexdigest()}.dir" != content:
        raise _corrupt(content)
    return data


def _get(store: ObjectStore, content: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    digest, start = hashlib.md5(), 0
    with path.open("wb") as out:
        while piece := store.read_range(_name(content), start, _PIECE):
            out.write(piece)
            digest.update(piece)
            start += len(piece)
    if digest.hexdigest() != content:
        raise _corrupt(content)


def _inside(relpath: str, content: str) -> str:
    parts = PurePosixPath(relpath).parts
    if not parts or ".." in parts or relpath.startswith("/"):
        raise TrainingDataError(f"{content} lists {relpath!r}, which is no file of its directory")
    return relpath


def _name(content: str) -> str:
    return f"files/md5/{content[:2]}/{content[2:]}"


def _corrupt(content: str) -> TrainingDataError:
    return TrainingDataError(f"what the remote holds as {content} has another hash: it is damaged")
