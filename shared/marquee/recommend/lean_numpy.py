"""numpy without what an answer never looks at: a quarter of its import, 12 ms of processor time of every start.

``numpy._core._add_newdocs`` and ``_add_newdocs_scalars`` only attach docstrings to what is compiled, and
``numpy._typing`` is there for annotations; numpy has no switch for either. While numpy is imported for the first
time, empty modules stand in their place; afterwards they are gone, so that whoever does import ``numpy.typing``
gets the real one. tests/functions/test_recommend_imports.py holds this against the pinned numpy.
"""

from __future__ import annotations

import sys
from types import ModuleType

LEFT_OUT = ("numpy._core._add_newdocs", "numpy._core._add_newdocs_scalars", "numpy._typing")


class _Empty(ModuleType):
    """Stands for a module: nothing in it is ever called."""

    NDArray = list  # numpy.linalg annotates its results with it, subscripted.


def import_numpy() -> None:
    """Import numpy, if nobody did yet."""
    if "numpy" in sys.modules:
        return
    empty = {name: _Empty(name) for name in LEFT_OUT}
    sys.modules.update(empty)
    try:
        import numpy  # noqa: F401
    finally:
        for name in LEFT_OUT:
            if sys.modules.get(name) is empty[name]:
                del sys.modules[name]
