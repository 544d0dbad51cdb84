"""YAML files with a schema."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec
import yaml

from marquee.errors import SettingsError

T = TypeVar("T")


def read_yaml(path: Path, kind: type[T]) -> T:
    """Read ``path`` as an instance of ``kind``. Raises :class:`SettingsError` if it is not one."""
    try:
        return msgspec.convert(yaml.safe_load(path.read_text()), kind)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise SettingsError(f"{path}: {error}") from error
