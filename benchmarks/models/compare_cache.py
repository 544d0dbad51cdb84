"""Each step of a comparison on disk, so that one that was killed goes on where it was."""

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
# What has a say in the numbers; the rest of the library only shows them.
_SOURCES = ("training/*.py", "models/**/*.py", "data/*.py", "evaluation/*.py", "scoring/*.py")
_SOURCES_HERE = ("compared_systems.py", "algorithms.py", "split_metrics.py", "backtest_windows.py")


class Cache:
    """Keeps arrays in ``directory`` under the digest of all that they depend on, the program's text included."""

    def __init__(self, directory: Path, *depends_on: str) -> None:
        self._directory = directory
        self._base = hashlib.sha256("\0".join((*depends_on, _program())).encode()).hexdigest()

    def get(self, name: dict[str, Any], make: Callable[[], Arrays]) -> Arrays:
        """What was kept under ``name``, or what ``make`` makes now."""
        key = hashlib.sha256((self._base + json.dumps(name, sort_keys=True)).encode()).hexdigest()[:32]
        path = self._directory / f"{key}.npz"
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
        except (OSError, EOFError, ValueError, zipfile.BadZipFile):
            made = make()
        with atomic_file.atomic_path(path) as aside, aside.open("wb") as out:
            np.savez(out, **made)  # type: ignore[arg-type]
        return made


def _program() -> str:
    """The digest of the modules in which the numbers are made."""
    paths = [path for pattern in _SOURCES for path in sorted(_LIBRARY.glob(pattern))]
    paths += [Path(__file__).parent / name for name in _SOURCES_HERE]
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()
