"""So that a database that is away costs the first few answers their deadline, and not each one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class CircuitBreaker:
    """Opens after ``failures`` in a row; every ``open_s`` one caller may try whether it is over."""

    def __init__(
        self, failures: int = 3, open_s: float = 2.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = failures
        self._open_s = open_s
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._try_at = 0.0

    def allows(self) -> bool:
        """Whether to try now. While it is open, who is let through is the only one for ``open_s``."""
        if self._failures < self._limit:  # Read without the lock: the usual case, and one word.
            return True
        with self._lock:
            if self._clock() < self._try_at:
                return False
            self._try_at = self._clock() + self._open_s
            return True

    def succeeded(self) -> None:
        """It worked: closed again."""
        self._failures = 0

    def failed(self) -> None:
        """It did not."""
        with self._lock:
            self._failures += 1
            self._try_at = self._clock() + self._open_s
