"""Times that people name on the command line."""

from __future__ import annotations

import argparse
from datetime import datetime, tzinfo


def timestamp(text: str) -> datetime:
    """The type of an argument that is a time. It has a zone only if ``text`` names one: see :func:`with_default_zone`."""
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        valid = "a time in ISO 8601, such as 2026-02-14, 2026-02-14T09:00 or 2026-02-14T09:00:20+01:00"
        raise argparse.ArgumentTypeError(f"{text!r} is not {valid} (no zone: MARQUEE_TIME_ZONE's)") from error


def with_default_zone(time: datetime, zone: tzinfo) -> datetime:
    """``time`` where it names a zone, else the time that clocks show so in ``zone``."""
    return time if time.tzinfo else time.replace(tzinfo=zone)
