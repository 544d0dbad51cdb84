"""Circuit breaker: an unavailable dependency delays the first few requests, not every one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class CircuitBreaker:
    """Opens after ``failures`` consecutive failures, and allows one trial call every ``open_s`` seconds while open."""

    def __init__(self, failures: int = 3, open_s: float = 2.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_failures = failures
        self._open_s = open_s
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._next_trial = 0.0

    def allows_call(self) -> bool:
        """Return whether the caller may call now. While open, a True claims the trial call."""
        if self._failures < self._max_failures:  # Read without the lock: one word, and the usual case.
            return True
        with self._lock:
            if self._clock() < self._next_trial:
                return False
            self._next_trial = self._clock() + self._open_s
            return True

    def record_success(self) -> None:
        """Close the breaker."""
        self._failures = 0

    def record_failure(self) -> None:
        """Count a failure."""
        with self._lock:
            self._failures += 1
            self._next_trial = self._clock() + self._open_s
