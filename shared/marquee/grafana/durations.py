"""Durations in Grafana's notation, such as ``5m``, ``1h30m`` and ``7d``: parse, format and round."""

from __future__ import annotations

import re
from bisect import bisect_right
from datetime import timedelta

from marquee.errors import PanelRefused

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_CLOCK = re.compile(rf"(?:{_PART.pattern})+")
_CALENDAR = re.compile(r"(\d+)([dw])")
_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
# Grafana's rounding (rangeutil.roundInterval of its packages/grafana-data). Below each limit, in ms, the step of the
# same index applies; from the last limit on it is a year.
_LIMITS_MS = (
    *(10, 15, 35, 75, 150, 350, 750),
    *(1_500, 3_500, 7_500, 12_500, 17_500, 25_000, 45_000),
    *(90_000, 210_000, 450_000, 750_000, 1_050_000, 1_500_000, 2_700_000),
    *(5_400_000, 9_000_000, 16_200_000, 32_400_000),
    *(86_400_000, 604_800_000, 1_814_400_000, 3_628_800_000),
)
_STEPS = (
    *("1ms", "10ms", "20ms", "50ms", "100ms", "200ms", "500ms"),
    *("1s", "2s", "5s", "10s", "15s", "20s", "30s"),
    *("1m", "2m", "5m", "10m", "15m", "20m", "30m"),
    *("1h", "2h", "3h", "6h"),
    *("12h", "1d", "1w", "30d", "365d"),
)


def parse_duration(text: str) -> timedelta:
    """Parse a duration such as 30s or 1h30m.

    Raises :class:`PanelRefused` for any other text, months and years included, because their length varies.
    """
    if calendar := _CALENDAR.fullmatch(text):
        span = int(calendar[1]) * _UNITS[calendar[2]]
    elif _CLOCK.fullmatch(text):
        span = sum((float(count) * _UNITS[unit] for count, unit in _PART.findall(text)), timedelta())
    else:
        span = timedelta()
    if not span:
        raise PanelRefused(f"{text!r} is not a duration such as 30s, 5m, 1h30m, 1d or 2w")
    return span


def choose_interval(span: timedelta, points: int, min_interval: timedelta) -> timedelta:
    """Return Grafana's ``$__interval`` for a graph over ``span`` with about ``points`` points."""
    raw_ms = span / timedelta(milliseconds=1) / points
    return max(parse_duration(_STEPS[bisect_right(_LIMITS_MS, raw_ms)]), min_interval)


def format_duration(interval: timedelta) -> str:
    """Format a duration like ``$__interval``: a whole number of the largest unit that fits, rounded down."""
    for unit, length in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)):
        if to_milliseconds(interval) >= length:
            return f"{to_milliseconds(interval) // length}{unit}"
    return f"{to_milliseconds(interval)}ms"


def to_milliseconds(interval: timedelta) -> int:
    """Return a duration like ``$__interval_ms``, rounded down."""
    return interval // timedelta(milliseconds=1)
