"""Parsers of the times in an imported table, which all have one format."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from marquee.config.base_data import parse_time

_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def create_time_parser(time_format: str) -> Callable[[str], int]:
    """Return a function that parses a time to whole seconds since 1970; a time without a zone is in UTC."""
    if time_format == "auto":
        return lambda text: parse_time(text)[0]
    if time_format in _UNITS:
        unit = _UNITS[time_format]
        return lambda text: int(text) // unit if text.lstrip("-").isdecimal() else int(float(text) // unit)

    def parse(text: str) -> int:
        iso = time_format == "iso"
        time = datetime.fromisoformat(text) if iso else datetime.strptime(text, time_format)
        return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())

    return parse
