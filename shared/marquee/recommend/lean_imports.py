"""numpy and msgspec without what an answer never looks at: 17 ms of processor time of every start.

``numpy._core._add_newdocs`` and ``_add_newdocs_scalars`` only attach docstrings to what is compiled, ``numpy._typing``
is there for annotations, and msgspec brings YAML, TOML and a view of types along; neither has a switch. While
they are imported for the first time, empty modules stand in their place; afterwards those are gone, so that whoever
does import ``numpy.typing`` or ``msgspec.yaml`` gets the real one. And msgspec takes from ``typing_extensions`` what
it would take from ``typing`` where that is not installed: it is told that it is not.
tests/functions/test_recommend_imports.py holds all this against the pinned versions.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

OF_NUMPY = ("numpy._core._add_newdocs", "numpy._core._add_newdocs_scalars", "numpy._typing")
OF_MSGSPEC = ("msgspec.inspect", "msgspec.toml", "msgspec.yaml")
_ABSENT = "typing_extensions"


class _Empty(ModuleType):
    """Stands for a module: nothing in it is ever called."""

    NDArray = list  # numpy.linalg annotates its results with it, subscripted.


def import_numpy() -> None:
    """Import numpy, if nobody did yet."""
    _import("numpy", {name: _Empty(name) for name in OF_NUMPY})


def import_msgspec() -> None:
    """Import msgspec, if nobody did yet."""
    left_out: dict[str, ModuleType | None] = {name: _Empty(name) for name in OF_MSGSPEC}
    if _ABSENT not in sys.modules:
        left_out[_ABSENT] = None  # For the import statement: there is no such module.
    _import("msgspec", left_out)


def _import(package: str, left_out: dict[str, ModuleType | None]) -> None:
    if package in sys.modules:
        return
    sys.modules.update(left_out)  # type: ignore[arg-type]  # None is what the import statement looks for.
    try:
        importlib.import_module(package)
    finally:
        for name, empty in left_out.items():
            if sys.modules.get(name, ...) is empty:
                del sys.modules[name]
