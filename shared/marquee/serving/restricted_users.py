"""Users of whom nothing may be read: the forgotten, and those who chose not to be profiled."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from marquee.errors import DatabaseRefused
from marquee.serving.deadline import Unavailable

if TYPE_CHECKING:
    from marquee.db.privacy_marks import MarkSet

REFRESH_S = 1.0
"""Age of the marks at which the next request reads them again."""

_log = logging.getLogger(__name__)


class RestrictedUsers:
    """The marked users, read again by a request once a second.

    While the database is unavailable the last marks hold. Before they were read for the first time every user is
    restricted: a list without a profile is better than that of a forgotten user.
    """

    def __init__(
        self,
        read: Callable[[], MarkSet],
        refresh_s: float = REFRESH_S,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read, self._refresh_s, self._now_s = read, refresh_s, now_s
        self._lock = threading.Lock()
        self._marks: MarkSet | None = None
        self._due_s = float("-inf")

    def __call__(self, user_id: str) -> bool:
        """Return whether nothing of the user may be read."""
        if self._now_s() >= self._due_s:
            self._refresh()
        return self._marks is None or self._marks.holds(user_id)

    def _refresh(self) -> None:
        # The first requests wait for the marks; later ones use the old marks while one of them reads.
        if not self._lock.acquire(blocking=self._marks is None):
            return
        try:
            if self._now_s() >= self._due_s:
                self._marks = self._read()
        except Unavailable:
            pass
        except DatabaseRefused as error:
            _log.error("the marks of users cannot be read: %s", error)
        finally:
            self._due_s = self._now_s() + self._refresh_s
            self._lock.release()
