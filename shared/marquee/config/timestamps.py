"""Timestamps on the command line."""

from __future__ import annotations

import argparse
from datetime import datetime, tzinfo


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
