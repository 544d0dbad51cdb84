"""Hours whose rows may still change, because late records arrive or the windows of their lists are not over."""

from __future__ import annotations

from datetime import datetime, timedelta

HOUR = timedelta(hours=1)
LATE = timedelta(hours=2)
"""Time after the end of its windows at which an hour is computed for the last time."""
RECENT, OLDER_INTERVAL = timedelta(hours=3), timedelta(hours=1)
"""A recent hour is computed at every run, an older one at this interval until it is final."""


def is_due(hour: datetime, computed: datetime | None, window: timedelta, now: datetime) -> bool:
    """Return whether the hour is to be computed at ``now``; ``computed`` is the last time, None for never.

    It is final once it was computed :data:`LATE` after the ``window`` of its last list. A time in the future is of a
    clock that was ahead, so that the hour may lack records.
    """
    if computed is None or computed > now + HOUR or now - hour < RECENT:
        return True
    final = computed >= hour + HOUR + window + LATE
    return not final and now - computed >= OLDER_INTERVAL
