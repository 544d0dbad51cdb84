"""Rejected events: requests that ``ingest`` acknowledged and could not read; listing and replay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from marquee.db.pool import Database

_DEADLINE_MS = 600_000

_SELECT = """
SELECT id, received, reason, headers, body, body_bytes, encode(digest, 'hex') FROM rejected_events
WHERE (%(id)s::bigint IS NULL OR id = %(id)s) AND id > %(after)s
  AND (%(since)s::timestamptz IS NULL OR received >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR received < %(until)s)"""

_COUNT = """
SELECT left(reason, 80), count(*), min(received), max(received) FROM rejected_events
WHERE (%(id)s::bigint IS NULL OR id = %(id)s)
  AND (%(since)s::timestamptz IS NULL OR received >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR received < %(until)s)
GROUP BY 1 ORDER BY 2 DESC, 1"""


@dataclass(frozen=True, slots=True)
class RejectedSelection:
    """Rejected events of one id, or received from ``since`` on and before ``until``; None: all."""

    id: int | None = None
    since: datetime | None = None
    until: datetime | None = None

    def parameters(self) -> dict[str, object]:
        """Return the parameters of the queries."""
        return {"id": self.id, "since": self.since, "until": self.until}


@dataclass(frozen=True, slots=True)
class ReasonCount:
    """The number of events with one reason, and when the first and the last were received."""

    reason: str
    events: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A rejected event as it is kept. ``body`` is cut if it is shorter than ``body_bytes``."""

    id: int
    received: datetime
    reason: str
    headers: Mapping[str, str]
    body: bytes
    body_bytes: int
    digest: str

    @property
    def complete(self) -> bool:
        """True if the whole body is kept."""
        return len(self.body) == self.body_bytes


@dataclass(frozen=True, slots=True)
class RejectedReplay:
    """``accepted``: events that were written and removed; ``rejected``: still invalid; ``cut``: not complete."""

    accepted: int
    rejected: int
    cut: int


def count_reasons(database: Database, selection: RejectedSelection) -> list[ReasonCount]:
    """Return the reasons of the selected events, the most frequent first."""
    with database.transaction(deadline_ms=_DEADLINE_MS) as cursor:
        cursor.execute(_COUNT, selection.parameters())
        return [ReasonCount(*row) for row in cursor.fetchall()]


def list_newest(database: Database, selection: RejectedSelection, limit: int) -> list[StoredEvent]:
    """Return the newest of the selected events."""
    with database.transaction(deadline_ms=_DEADLINE_MS) as cursor:
        parameters = {"after": 0, "limit": limit, **selection.parameters()}
        cursor.execute(f"{_SELECT} ORDER BY id DESC LIMIT %(limit)s", parameters)
        return [_stored_event(row) for row in cursor.fetchall()]


def replay_events(
    database: Database, selection: RejectedSelection, accept: Callable[[StoredEvent], bool]
) -> RejectedReplay:
    """Handle the selected events again with ``accept``; remove those that it accepts.

    An event is removed after its rows were committed. A replay can be interrupted and repeated, because the
    writes are idempotent.
    """
    accepted = rejected = cut = after = 0
    while (event := _next(database, selection, after)) is not None:
        after = event.id
        if not event.complete:
            cut += 1
        elif accept(event):
            accepted += 1
            with database.transaction() as cursor:
                cursor.execute("DELETE FROM rejected_events WHERE id = %s", (event.id,))
        else:
            rejected += 1
    return RejectedReplay(accepted, rejected, cut)


def _next(database: Database, selection: RejectedSelection, after: int) -> StoredEvent | None:
    with database.transaction(deadline_ms=_DEADLINE_MS) as cursor:
        cursor.execute(f"{_SELECT} ORDER BY id LIMIT 1", {"after": after, **selection.parameters()})
        row = cursor.fetchone()
        return _stored_event(row) if row else None


def _stored_event(row: tuple[Any, ...]) -> StoredEvent:
    id, received, reason, headers, body, body_bytes, digest = row
    return StoredEvent(id, received, reason, headers, bytes(body), body_bytes, digest)
