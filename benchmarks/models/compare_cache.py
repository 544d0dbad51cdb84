"""Cache of the comparison's steps on disk, so that a killed run resumes."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import marquee
from benchmarks.models.split_metrics import Arrays
from marquee.config import atomic_file

_LIBRARY = Path(marquee.__file__).parent
# Modules that determine the numbers; all others only present them.
_SOURCES = ("training/*.py", "models/**/*.py", "data/*.py", "evaluation/*.py", "scoring/*.py")
_SOURCES_HERE = ("fitted_algorithms.py", "algorithms.py", "split_metrics.py", "backtest_windows.py")


class ArrayCache:
    """Arrays in ``directory``, by the digest of everything they depend on, the source code included."""

    def __init__(self, directory: Path, *depends_on: str) -> None:
        self._directory = directory
        self._base = hashlib.sha256("\0".join((*depends_on, _hash_sources())).encode()).hexdigest()

    def get(self, name: dict[str, Any], compute: Callable[[], Arrays]) -> Arrays:
        """Return the cached arrays of ``name``; compute and store them if they are missing or damaged."""
        key = hashlib.sha256((self._base + json.dumps(name, sort_keys=True)).encode()).hexdigest()[:32]
        path = self._directory / f"{key}.npz"
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
        except (OSError, EOFError, ValueError, zipfile.BadZipFile):
            computed = compute()
        with atomic_file.atomic_path(path) as temporary, temporary.open("wb") as out:
            np.savez(out, **computed)  # type: ignore[arg-type]
        return computed


def _hash_sources() -> str:
    """Return the digest of the modules that determine the numbers."""
    paths = [path for pattern in _SOURCES for path in sorted(_LIBRARY.glob(pattern))]
    paths += [Path(__file__).parent / name for name in _SOURCES_HERE]
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()
