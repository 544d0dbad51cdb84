"""The file that the bridge touches every second: an old modification time means that its loop hangs."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from marquee.errors import SettingsError

log = logging.getLogger(__name__)


def check_health_file(path: Path | None) -> None:
    """Raise ``SettingsError`` if the health file could not be touched."""
    if path is None:
        return
    if path.is_dir() or not path.parent.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise SettingsError(
            f"--health-file is {path}: expected a file that the bridge may write, in a directory that exists"
        )


def touch(path: Path) -> None:
    """Update the modification time; a full disk must not end the bridge, so the file goes stale."""
    try:
        path.touch()
    except OSError as error:
        log.warning("the health file cannot be touched: %s", error)
