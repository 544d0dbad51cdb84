"""YAML files that people write, with a schema or without."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from marquee.errors import SettingsError

T = TypeVar("T")


def read_yaml(path: Path, kind: type[T]) -> T:
    """Read ``path`` as an instance of ``kind``. Raises :class:`SettingsError` if it is not one."""
    document = load_yaml(path)
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{path}: {error}") from error


def load_yaml(path: Path) -> Any:
    """Return the document in ``path``. Raises :class:`SettingsError` if it cannot be read or is not YAML in UTF-8."""
    try:
        return yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    # A date that does not exist is a ValueError, and deep nesting a RecursionError.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SettingsError(f"{path} is not YAML: {error}") from error
