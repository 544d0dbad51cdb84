"""Files and directories that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A directory or file to write; it appears at ``path`` when the block ends well, and not before.

    What a process that was killed left behind is cleared away by the next.
    """
    aside = path.with_name(f".{path.name}.writing")
    _remove(aside)
    aside.parent.mkdir(parents=True, exist_ok=True)
    yield aside
    _remove(path)
    aside.rename(path)


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """As :func:`whole`, for a directory that is there already when the block begins."""
    with atomic_path(path) as aside:
        aside.mkdir()
        yield aside


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()
