"""The hashes by which DVC knows a file or a directory, so that what it keeps and what we record agree."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path


def hash_path(path: Path) -> str:
    """The MD5 of a file, or of the listing of a directory with ``.dir`` behind it, as in ``dvc.lock``."""
    return hash_file(path) if path.is_file() else hashlib.md5(directory_listing(path)).hexdigest() + ".dir"


def hash_file(path: Path) -> str:
    """The MD5 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def directory_listing(directory: Path) -> bytes:
    """What DVC stores for a directory: the hash and the relative name of each file, in order of name."""
    entries = [{"md5": hash_file(path), "relpath": name} for name, path in files(directory)]
    return json.dumps(entries, sort_keys=True).encode()


def files(directory: Path) -> Iterator[tuple[str, Path]]:
    """Every file below, by its relative name, in order of it."""
    found = (path for path in directory.rglob("*") if path.is_file())
    yield from sorted((path.relative_to(directory).as_posix(), path) for path in found)
