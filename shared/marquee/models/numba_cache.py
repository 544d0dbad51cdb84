"""numba, with a place for what it compiled: so that a process finds what the one before it left there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

# numba keeps compiled code beside the module, or in the home directory. Where neither can be written to, its
# import would fail; then each process compiles anew. A directory of its own: what lies there is run.
if not os.access(Path(__file__).parent, os.W_OK):
    os.environ.setdefault("NUMBA_CACHE_DIR", tempfile.mkdtemp(prefix="marquee-numba-"))

# Threads that wait for one another sleep. By OpenMP's default they spin, which on a machine that has other work takes
# the time from the very thread they wait for: a fit of seconds becomes one of minutes.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numba

__all__ = ["numba"]
