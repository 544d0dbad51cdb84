"""Timestamps: on the command line, and the range in which a time of an event is plausible."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta, tzinfo

# The years that nanoseconds since 1970 in 64 bits can represent. A time outside is a placeholder or an error, such as
# the zero of Go and .NET (year 1) and of Windows (1601).
EARLIEST, LATEST = datetime(1678, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC)


def timestamp(text: str) -> datetime:
    """Parse a timestamp argument; an argparse ``type``.

    The result is naive unless ``text`` names a zone; see :func:`with_default_zone`.
    """
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        valid = "a time in ISO 8601, such as 2026-02-14, 2026-02-14T09:00 or 2026-02-14T09:00:20+01:00"
        raise argparse.ArgumentTypeError(
            f"{text!r} is not {valid} (without a zone, MARQUEE_TIME_ZONE applies)"
        ) from error


def with_default_zone(time: datetime, zone: tzinfo) -> datetime:
    """Return ``time`` in its own zone, or in ``zone`` if it is naive."""
    return time if time.tzinfo else time.replace(tzinfo=zone)


def to_microseconds(time: datetime) -> int:
    """Return the exact microseconds since 1970, UTC; ``timestamp()`` rounds."""
    return (time - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)
