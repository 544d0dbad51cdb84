"""DVC's hashes of files and directories, so that its cache and the manifests agree."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path


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
