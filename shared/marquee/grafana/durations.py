"""Spans of time as Grafana writes, reads and rounds them: ``5m``, ``1h30m``, ``7d``."""

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
# Grafana's steps (rangeutil.roundInterval of its packages/grafana-data): below each limit, in ms, the step
# of the same place; from the last limit on, a year.
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
    """The span of ``text``; raises PanelRefused. Months and years are refused: their length hangs on today."""
    if calendar := _CALENDAR.fullmatch(text):
        span = int(calendar[1]) * _UNITS[calendar[2]]
    elif _CLOCK.fullmatch(text):
        span = sum((float(count) * _UNITS[unit] for count, unit in _PART.findall(text)), timedelta())
    else:
        span = timedelta()
    if not span:
        raise PanelRefused(f"{text!r} is no interval: such as 30s, 5m, 1h30m, 1d or 2w is")
    return span


def choose_interval(span: timedelta, points: int, least: timedelta) -> timedelta:
    """What Grafana takes for ``$__interval`` where ``span`` is drawn in at most about ``points`` points."""
    raw_ms = span / timedelta(milliseconds=1) / points
    return max(parse_duration(_STEPS[bisect_right(_LIMITS_MS, raw_ms)]), least)


def format_duration(interval: timedelta) -> str:
    """As Grafana writes ``$__interval``: one number of the largest unit that it fills, rounded down."""
    for unit, length in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)):
        if to_milliseconds(interval) >= length:
            return f"{to_milliseconds(interval) // length}{unit}"
    return f"{to_milliseconds(interval)}ms"


def to_milliseconds(interval: timedelta) -> int:
    """As ``$__interval_ms`` has it."""
    return interval // timedelta(milliseconds=1)
