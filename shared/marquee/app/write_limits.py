"""Rate limits of writes by user and by address, counted in MongoDB for all instances together."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
from pymongo.errors import DuplicateKeyError

from marquee.app.documents import Documents
from marquee.errors import DocumentsRefused, DocumentsUnavailable


class Limit(msgspec.Struct, frozen=True):
    """At most ``times`` writes of one kind in ``seconds``, in a moving window."""

    kind: str
    times: int
    seconds: int


WRITES = Limit("write", 60, 60)
MINUTES = Limit("minute", 180, 60)
"""Limit of played minutes by user; the demo plays one a second."""
BATCHES = Limit("batch", 60, 60)
ACCOUNTS = Limit("account", 120, 3_600)
"""Limit of new accounts by address; many users may share an address."""
CODES = Limit("code", 10, 600)
"""Limit of attempts to enter a device code by address; there are 31**8 codes."""


class WriteLimits:
    """Moving windows in the collection ``limits``.

    While MongoDB is unavailable all writes are allowed: the app cannot store anything then, and the movie service has
    its own limit.
    """

    def __init__(self, documents: Documents, clock: Callable[[], float] = time.time) -> None:
        self._documents, self._clock = documents, clock

    def allow(self, limit: Limit, who: str) -> bool:
        """Count one write by ``who``, a user id or an address; return False if the limit is reached.

        The document of a window holds the times of its writes, the newest first. The update matches unless the oldest
        of ``limit.times`` writes is within the window. In that case the upsert fails with a duplicate key, because the
        document exists.
        """
        now = self._clock()
        expire = datetime.fromtimestamp(now + limit.seconds, UTC)
        key = hashlib.sha256(f"{limit.kind}:{who}".encode("utf-8", "surrogatepass")).hexdigest()
        free = {"_id": key, f"times.{limit.times - 1}": {"$not": {"$gte": now - limit.seconds}}}
        push = {"times": {"$each": [now], "$position": 0, "$slice": limit.times}}
        try:
            with self._documents.collection("limits") as windows:
                for attempt in (1, 2):
                    try:
                        windows.update_one(free, {"$push": push, "$set": {"expire": expire}}, upsert=True)
                        return True
                    except DuplicateKeyError:
                        # Two concurrent first writes also collide; the second attempt rules that out.
                        if attempt == 2:
                            return False
        except (DocumentsUnavailable, DocumentsRefused):
            return True
        return False
