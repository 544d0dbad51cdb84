"""Choice of an account about profiling: the mark that ``recommend``, ingestion and training obey (docs/privacy.md)."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from marquee.errors import DatabaseRefused, DatabaseUnavailable

if TYPE_CHECKING:
    from marquee.db.pool import Database

_CONNECT_S, _WAIT_S, _STATEMENT_MS, _READ_MS = 2.0, 2.0, 3_000, 1_000


class AccountProfiling:
    """The marks in the database at ``url``, with the privacy key. Without both of them no account is marked.

    The driver of the database is imported at the first use, because it would delay a cold start, and only the page of
    the user's choices needs it.
    """

    def __init__(self, url: str = "", key: str = "") -> None:
        self._url, self._key = url if key else "", key
        self._lock = threading.Lock()
        self._connected: tuple[Database, Any] | None = None

    def is_allowed(self, user_id: str) -> bool | None:
        """Return False if the account must not be profiled, and None if that cannot be determined now."""
        if not self._url:
            return True
        database, reader = self._connect()
        try:
            return not reader.read(database, _READ_MS).holds(user_id)
        except (DatabaseUnavailable, DatabaseRefused):
            return None

    def set_allowed(self, user_id: str, allowed: bool) -> None:
        """Remove the account's mark, or add it.

        Raises :class:`DatabaseUnavailable`, and :class:`PrivacyKeyWrong` if other users were marked with another key.
        """
        from marquee.db.privacy_marks import set_profiling

        if self._url:
            set_profiling(self._connect()[0], self._key, user_id, allowed=allowed)

    def _connect(self) -> tuple[Database, Any]:
        from marquee.db.pool import Database
        from marquee.db.privacy_marks import MarkReader

        with self._lock:
            if self._connected is None:
                database = Database(
                    self._url, connect_timeout_s=_CONNECT_S, wait_s=_WAIT_S, statement_timeout_ms=_STATEMENT_MS
                )
                self._connected = database, MarkReader(self._key)
            return self._connected
