"""The lines of the log, read and written."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from marquee.stream.events import Event, Malformed


class LineParser:
    """Reads lines whose times are in ``zone`` and whose ratings go to ``rating_max``."""

    def __init__(self, zone: ZoneInfo, rating_max: int) -> None: ...

    def parse(self, text: str) -> Event | Malformed:
        """Never raises."""
        raise NotImplementedError


def format_line(event: Event, zone: ZoneInfo) -> str:
    """The line that says this."""
    raise NotImplementedError
