"""A clock that tests set by hand."""

from __future__ import annotations


class FakeClock:
    """Callable that returns ``now``, in seconds."""

    now = 0.0

    def __call__(self) -> float:
        """Return ``now``."""
        return self.now
