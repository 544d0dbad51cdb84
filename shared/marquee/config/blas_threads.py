"""Number of BLAS threads."""

from __future__ import annotations

import os


def limit_blas_threads() -> None:
    """Limit BLAS to one thread; call before numpy is imported.

    Sums over several threads differ in their last bits, and a model should be the same on any machine. An
    inverse of 5,000 x 5,000 still takes only a few seconds.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
