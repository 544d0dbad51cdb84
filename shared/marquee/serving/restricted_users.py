"""Restricted users, whose data must not be read: forgotten users, and users who opted out of profiling."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from marquee.errors import DatabaseRefused, PrivacyKeyWrong
from marquee.serving.deadline import Unavailable

if TYPE_CHECKING:
    from marquee.db.privacy_marks import MarkSet

REFRESH_S = 1.0
"""Age of the marks, in seconds, from which the next request reads them again."""

_log = logging.getLogger(__name__)


class RestrictedUsers:
    """The set of marked users, which requests refresh once a second.

    While the database is unavailable, the last marks are used. Until the first successful read, and while the key of
    the marks is missing or wrong, every user is treated as restricted, so that no forgotten user is profiled.
    ``problem`` says what is wrong with the key; it is empty if nothing is.
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
        self.problem = ""

    @property
    def is_unread(self) -> bool:
        """True if every user is treated as restricted because the database has not answered yet."""
        return self._marks is None and not self.problem

    def __call__(self, user_id: str) -> bool:
        """Return True if the data of the user must not be read."""
        if self._now_s() >= self._due_s:
            self._refresh()
        return self._marks is None or self._marks.holds(user_id)

    def stored_id(self, user_id: str) -> str:
        """Return the id under which the data of a user are stored, as of the last call."""
        return user_id if self._marks is None else self._marks.stored_id(user_id)

    def _refresh(self) -> None:
        # The first requests wait for the marks. Later ones use the old marks while one request reads new ones.
        if not self._lock.acquire(blocking=self._marks is None):
            return
        try:
            if self._now_s() >= self._due_s:
                self._marks = self._read()
                self.problem = ""
        except Unavailable:
            pass
        except PrivacyKeyWrong as error:
            _log.error("every list is made without a profile: %s", error)
            self._marks, self.problem = None, str(error)
        except DatabaseRefused as error:
            _log.error("the marks of restricted users cannot be read; the last ones are used: %s", error)
        finally:
            self._due_s = self._now_s() + self._refresh_s
            self._lock.release()
