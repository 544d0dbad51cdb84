"""Checks of recent records: volume, quarantine, delivery, and values outside their range.

The parser rejects every record that violates the format. These checks read the tables nevertheless, because the
parser, a setting or another writer may be wrong.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from marquee.db.pool import Database
from marquee.events.kinds import EVENT_KINDS, RATING, WATCH
from marquee.events.log_scale import LogScale
from marquee.monitoring.check_result import Check, Verdict, check_at_most

WINDOW = timedelta(minutes=5)
"""Length of the checked window."""
MAX_MOVIE_MINUTES = 1_063
"""Highest minute of a movie seen in real logs."""
MAX_CLOCK_SKEW = timedelta(minutes=5)
"""A record dated further ahead than this has a wrong time."""
DEADLINE_MS = 60_000

# Names of tables come from the table of event kinds only.
_COUNTS = "SELECT " + ", ".join(  # noqa: S608
    f"(SELECT count(*) FROM {kind.table} WHERE time >= %(since)s AND time < %(until)s)"  # noqa: S608
    for kind in EVENT_KINDS
)

_QUARANTINE = """
SELECT category, count(*) FROM quarantine WHERE time >= %(since)s AND time < %(until)s
GROUP BY category ORDER BY 2 DESC, 1"""

_DELIVERIES = """
SELECT coalesce(sum(records), 0)::bigint, coalesce(sum(redelivered), 0)::bigint, coalesce(max(lag_ms_max), 0)
FROM deliveries_per_minute WHERE time >= %(since)s AND time < %(until)s"""

_REJECTED = "SELECT count(*) FROM rejected_events WHERE received >= %(since)s AND received < %(until)s"

_INVALID_RATINGS = """
SELECT count(*) FILTER (WHERE rating * rating_step() NOT BETWEEN %(rating_min)s AND %(rating_max)s),
       count(*) FILTER (WHERE user_id !~ '^[^,/[:cntrl:]]{1,128}$' OR movie_id !~ '^[^,/[:cntrl:]]+$')
FROM ratings WHERE time >= %(since)s AND time < %(until)s"""

_INVALID_MINUTES = """
SELECT count(*) FROM watches
WHERE time >= %(since)s AND time < %(until)s AND minute NOT BETWEEN 0 AND %(max_minute)s"""

_AHEAD = "SELECT " + " + ".join(  # noqa: S608
    f"(SELECT count(*) FROM {kind.table} WHERE time > %(ahead)s)"  # noqa: S608
    for kind in EVENT_KINDS
)

_HISTORY = """
SELECT count(DISTINCT date_bin('24 hours', time, TIMESTAMPTZ 'epoch')),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY value),
       percentile_cont(0.05) WITHIN GROUP (ORDER BY value), percentile_cont(0.95) WITHIN GROUP (ORDER BY value)
FROM quality_checks
WHERE name = %(name)s AND time >= %(end)s - INTERVAL '336 hours' AND time < %(end)s - INTERVAL '12 hours'
  AND abs(mod(extract(epoch FROM time - %(end)s)::bigint + 43200 + 86400 * 14, 86400) - 43200) <= 1800"""
MIN_HISTORY_DAYS = 3
"""Days of history needed for a usual range."""
# Margin on both sides of the usual range, as a fraction of the median.
_MARGIN = 0.5


def check_batches(database: Database, end: datetime, scale: LogScale) -> list[Check]:
    """Return the checks of the records with times in the window that ends at ``end``."""
    parameters = {
        "since": end - WINDOW,
        "until": end,
        "rating_min": scale.low,
        "rating_max": scale.high,
        "max_minute": MAX_MOVIE_MINUTES,
        "ahead": end + MAX_CLOCK_SKEW,
    }

    def read_row(query: str) -> tuple[Any, ...]:
        return database.read(query, parameters, deadline_ms=DEADLINE_MS)[0]

    counts = dict(zip((kind.name for kind in EVENT_KINDS), read_row(_COUNTS), strict=True))
    categories = database.read(_QUARANTINE, parameters, deadline_ms=DEADLINE_MS)
    ratings, watches = counts[RATING.name], counts[WATCH.name]
    return [
        *(_check_volume(database, f"volume.{kind}", records, end) for kind, records in counts.items()),
        _check_quarantine(categories, sum(counts.values())),
        *_check_deliveries(*read_row(_DELIVERIES)),
        check_at_most("schema.rejected_events", read_row(_REJECTED)[0], "events", usual=0, bad=100),
        *_check_ranges(read_row(_INVALID_RATINGS), ratings, read_row(_INVALID_MINUTES)[0], watches),
        check_at_most("range.ahead_rows", read_row(_AHEAD)[0], "rows", usual=0, bad=1_000),
    ]


def _check_volume(database: Database, name: str, records: int, end: datetime) -> Check:
    """Compare a volume with those of the last two weeks within half an hour of the same time of day."""
    days, median, low, high = database.read(_HISTORY, {"name": name, "end": end}, deadline_ms=DEADLINE_MS)[0]
    if days < MIN_HISTORY_DAYS:
        return Check(name, records, "records", detail=f"no usual range yet: {days} of {MIN_HISTORY_DAYS} days")
    low, high = max(low - _MARGIN * median, 0.0), high + _MARGIN * median
    silent = records == 0 and median > 0
    verdict = Verdict.GOOD if low <= records <= high and not silent else Verdict.WARNING
    if silent or records > 2 * high or records < low / 2:
        verdict = Verdict.BAD
    detail = f"median at this time of day: {median:,.0f}"
    return Check(name, records, "records", verdict, low, high, detail)


def _check_quarantine(categories: list[tuple[Any, ...]], parsed: int) -> Check:
    """Check the fraction of quarantined records. Real logs have 0.04 to 0.11 %."""
    quarantined = sum(count for _, count in categories)
    if not parsed + quarantined:
        return Check("quarantine.rate", None, "fraction", detail="no records")
    detail = ", ".join(f"{category} {count:,}" for category, count in categories)
    fraction = quarantined / (parsed + quarantined)
    return check_at_most("quarantine.rate", fraction, "fraction", usual=0.005, bad=0.02, detail=detail)


def _check_deliveries(records: int, redelivered: int, lag_ms: int) -> list[Check]:
    if not records:
        units = {"delivery.redelivered_rate": "fraction", "delivery.lag_s": "s"}
        return [Check(name, None, unit, detail="no deliveries") for name, unit in units.items()]
    return [
        check_at_most("delivery.redelivered_rate", redelivered / records, "fraction", usual=0.05, bad=0.5),
        check_at_most("delivery.lag_s", lag_ms / 1000, "s", usual=10, bad=60),
    ]


def _check_ranges(invalid: tuple[Any, ...], ratings: int, invalid_minutes: int, watches: int) -> list[Check]:
    counts = (
        ("range.rating_rate", invalid[0], ratings),
        ("schema.id_rate", invalid[1], ratings),
        ("range.minute_rate", invalid_minutes, watches),
    )
    return [
        check_at_most(name, bad / total, "fraction", usual=0.0, bad=0.01, detail=f"{bad:,} of {total:,}")
        if total
        else Check(name, None, "fraction", detail="no rows")
        for name, bad, total in counts
    ]
