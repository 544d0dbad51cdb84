"""numba, configured before its import.

Compiled code is kept in a cache that later processes reuse. Threads that wait sleep.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

# numba caches compiled code beside the module or in the home directory, and its import fails if neither is
# writable. A new temporary directory replaces them; then each process compiles again. The directory is private to
# the process, because cached code is executed.
if not os.access(Path(__file__).parent, os.W_OK):
    os.environ.setdefault("NUMBA_CACHE_DIR", tempfile.mkdtemp(prefix="marquee-numba-"))

# By default OpenMP's idle threads spin. On a busy machine they take the CPU from the thread that they wait for, and
# a fit of seconds takes minutes.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numba

__all__ = ["numba"]
