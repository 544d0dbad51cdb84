"""``params.yaml``: every parameter of training, read strictly. An unknown or missing name is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from marquee.errors import SettingsError


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class MovielensParams(_Section, frozen=True):
    """``sha256``: file name -> the digest that it must have."""

    sha256: dict[str, str]


class Params(_Section, frozen=True):
    """The whole file."""

    seed: int
    movielens: MovielensParams

    @classmethod
    def read(cls, path: Path) -> Params:
        """Read ``path``; raises :class:`SettingsError` that says what is wrong and where."""
        try:
            return msgspec.yaml.decode(path.read_bytes(), type=cls)
        except OSError as error:
            raise SettingsError(f"{path} cannot be read: {error.strerror}; --params names another") from error
        except msgspec.MsgspecError as error:
            raise SettingsError(f"{path}: {error}") from error

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for the manifest."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain
