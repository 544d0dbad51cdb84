"""Rate limits: a token bucket for each caller, in the memory of one process."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

BURST_S = 2.0
"""A bucket holds the requests of this many seconds, and at least one."""
MAX_BUCKETS = 10_000


class CallLimiter:
    """Buckets by caller, each filled with ``per_s`` requests a second; 0 means no limit.

    The buckets of the callers that have been silent longest are forgotten, so that forged addresses do not fill the
    memory.
    """

    def __init__(self, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s, self._clock = per_s, clock
        self._size = max(1.0, per_s * BURST_S)
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str) -> float:
        """Take one request of ``caller``; return 0, or the seconds until one is free."""
        if not self._per_s:
            return 0.0
        now = self._clock()
        with self._lock:
            level, then = self._buckets.pop(caller, (self._size, now))
            level = min(self._size, level + (now - then) * self._per_s)
            allowed = level >= 1
            self._buckets[caller] = (level - 1 if allowed else level, now)
            if len(self._buckets) > MAX_BUCKETS:
                self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - level) / self._per_s
