"""An exception that stands for a kill of the process."""

from __future__ import annotations


class Killed(Exception):
    """Raised by a test in the middle of a computation, which then continues from its checkpoint."""
