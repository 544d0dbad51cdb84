"""What came in of late: how much, how much of it could not be read, and what is in it that cannot be.

The parser lets nothing through that breaks the protocol; these checks look at what is in the tables all the same,
since a parser, a setting or another writer may be wrong.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from marquee.db.pool import Database
from marquee.events.kinds import EVENT_KINDS, RATING, WATCH
from marquee.monitoring.check_result import Check, Verdict, check_at_most

WINDOW = timedelta(minutes=5)
"""What counts as one batch here."""
LONGEST_MOVIE_MINUTES = 1_063
"""The highest minute that real logs have shown."""
AHEAD = timedelta(minutes=5)
"""Clocks differ by less than this."""
DEADLINE_MS = 60_000

_EVENTS = "SELECT " + ", ".join(
    f"(SELECT count(*) FROM {kind.table} WHERE time >= %(since)s AND time < %(until)s)"
    for kind in EVENT_KINDS
)

_QUARANTINE = """
SELECT category, count(*) FROM quarantine WHERE time >= %(since)s AND time < %(until)s
GROUP BY category ORDER BY 2 DESC, 1"""

_DELIVERIES = """
SELECT coalesce(sum(records), 0)::bigint, coalesce(sum(redelivered), 0)::bigint, coalesce(max(lag_ms_max), 0)
FROM deliveries_per_minute WHERE time >= %(since)s AND time < %(until)s"""

_REJECTED = "SELECT count(*) FROM rejected_events WHERE received >= %(since)s AND received < %(until)s"

_WRONG = """
SELECT count(*) FILTER (WHERE rating NOT BETWEEN 1 AND %(rating_max)s),
       count(*) FILTER (WHERE user_id !~ '^[0-9]{1,20}$' OR movie_id !~ '^[a-z0-9+_.*-]*[+]([0-9]{4})?$')
FROM ratings WHERE time >= %(since)s AND time < %(until)s"""

_WRONG_MINUTES = """
SELECT count(*) FROM watches
WHERE time >= %(since)s AND time < %(until)s AND minute NOT BETWEEN 0 AND %(longest)s"""

_AHEAD = "SELECT " + " + ".join(
    f"(SELECT count(*) FROM {kind.table} WHERE time > %(ahead)s)" for kind in EVENT_KINDS
)

_HISTORY = """
SELECT count(DISTINCT time::date), percentile_cont(0.5) WITHIN GROUP (ORDER BY value),
       percentile_cont(0.05) WITHIN GROUP (ORDER BY value), percentile_cont(0.95) WITHIN GROUP (ORDER BY value)
FROM quality_checks
WHERE name = %(name)s AND time >= %(end)s - INTERVAL '14 days' AND time < %(end)s - INTERVAL '12 hours'
  AND abs(mod(extract(epoch FROM time - %(end)s)::bigint + 43200 + 86400 * 14, 86400) - 43200) <= 1800"""
DAYS_NEEDED = 3
"""Days of history before there is something usual."""
_ROOM = 0.5  # Beyond what is usual: so much of the median.


def check_batches(database: Database, end: datetime, rating_max: int) -> list[Check]:
    """The checks of the lines whose times are in the window that ends at ``end``."""
    parameters = {
        "since": end - WINDOW,
        "until": end,
        "rating_max": rating_max,
        "longest": LONGEST_MOVIE_MINUTES,
        "ahead": end + AHEAD,
    }

    def row(query: str) -> tuple[Any, ...]:
        return database.read(query, parameters, deadline_ms=DEADLINE_MS)[0]

    counts = dict(zip((kind.name for kind in EVENT_KINDS), row(_EVENTS), strict=True))
    return [
        *(_volume(database, f"volume.{kind}", lines, end) for kind, lines in counts.items()),
        _quarantine(database.read(_QUARANTINE, parameters, deadline_ms=DEADLINE_MS), sum(counts.values())),
        *_deliveries(*row(_DELIVERIES)),
        check_at_most("schema.rejected_events", row(_REJECTED)[0], "events", usual=0, bad=100),
        *_ranges(row(_WRONG), counts[RATING.name], row(_WRONG_MINUTES)[0], counts[WATCH.name]),
        check_at_most("range.ahead_rows", row(_AHEAD)[0], "rows", usual=0, bad=1_000),
    ]


def _volume(database: Database, name: str, lines: int, end: datetime) -> Check:
    """Against the same time of day, half an hour about it, of the last two weeks."""
    days, median, low, high = database.read(_HISTORY, {"name": name, "end": end}, deadline_ms=DEADLINE_MS)[0]
    if days < DAYS_NEEDED:
        return Check(name, lines, "lines", detail=f"nothing is usual yet: {days} of {DAYS_NEEDED} days")
    low, high = max(low - _ROOM * median, 0.0), high + _ROOM * median
    silent = lines == 0 and median > 0
    verdict = Verdict.GOOD if low <= lines <= high and not silent else Verdict.WARNING
    if silent or lines > 2 * high or lines < low / 2:
        verdict = Verdict.BAD
    return Check(name, lines, "lines", verdict, low, high, f"median at this time of day: {median:,.0f}")


def _quarantine(categories: list[tuple[Any, ...]], read: int) -> Check:
    """Real logs have 0.04 to 0.11 % of such lines."""
    quarantined = sum(count for _, count in categories)
    if not read + quarantined:
        return Check("quarantine.rate", None, "fraction", detail="no lines")
    detail = ", ".join(f"{category} {count:,}" for category, count in categories)
    fraction = quarantined / (read + quarantined)
    return check_at_most("quarantine.rate", fraction, "fraction", usual=0.005, bad=0.02, detail=detail)


def _deliveries(lines: int, redelivered: int, lag_ms: int) -> list[Check]:
    if not lines:
        units = {"delivery.again_rate": "fraction", "delivery.lag_s": "s"}
        return [Check(name, None, unit, detail="nothing was delivered") for name, unit in units.items()]
    return [
        check_at_most("delivery.again_rate", redelivered / lines, "fraction", usual=0.05, bad=0.5),
        check_at_most("delivery.lag_s", lag_ms / 1000, "s", usual=10, bad=60),
    ]


def _ranges(wrong: tuple[Any, ...], ratings: int, wrong_minutes: int, watches: int) -> list[Check]:
    found = (
        ("range.rating_rate", wrong[0], ratings),
        ("schema.id_rate", wrong[1], ratings),
        ("range.minute_rate", wrong_minutes, watches),
    )
    return [
        check_at_most(name, bad / of, "fraction", usual=0.0, bad=0.01, detail=f"{bad:,} of {of:,}")
        if of
        else Check(name, None, "fraction", detail="no rows")
        for name, bad, of in found
    ]
