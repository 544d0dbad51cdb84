"""The estimate that ``monitor`` keeps: the load of the last day, what it costs a month, one row a part and hour."""

from __future__ import annotations

from datetime import datetime

from marquee.costs.bill import functions_bill
from marquee.costs.load import Load, System, Work
from marquee.costs.prices import read_prices
from marquee.db.pool import Database

# Of a system that is younger than a day: since it began, though a minute at least. Lines count by the writer's clock.
_LOAD = """
SELECT records / seconds, requests / seconds
FROM (SELECT coalesce(sum(records), 0)::float8 AS records,
             least(86400, greatest(60, extract(epoch FROM now() - min(time))))::float8 AS seconds
      FROM deliveries_per_minute WHERE time > now() - INTERVAL '1 day') AS delivered,
     (SELECT coalesce(sum(requests), 0)::float8 AS requests
      FROM recommendation_requests_per_minute WHERE time > now() - INTERVAL '1 day') AS asked
"""
_KEEP = """
INSERT INTO cost_estimates (time, part, usd_per_month, lines_per_second, requests_per_second, prices_date)
VALUES (date_trunc('hour', %(at)s::timestamptz), %(part)s, %(usd)s, %(lines)s, %(requests)s, %(prices)s)
ON CONFLICT (part, time) DO UPDATE SET
    usd_per_month = excluded.usd_per_month, lines_per_second = excluded.lines_per_second,
    requests_per_second = excluded.requests_per_second, prices_date = excluded.prices_date
"""


def measured_load(database: Database) -> Load:
    """The mean of the last day; nothing delivered is a load of 0."""
    ((lines, requests),) = database.read(_LOAD, deadline_ms=10_000)
    return Load(lines or 0.0, requests or 0.0)


def estimate(database: Database, now: datetime) -> int:
    """Keep this hour's estimate, in place of an earlier one of the same hour; returns the number of parts."""
    load, prices = measured_load(database), read_prices()
    parts = functions_bill(load, prices, Work(), System()).parts
    common = {
        "at": now,
        "lines": load.lines_per_second,
        "requests": load.requests_per_second,
        "prices": prices.date,
    }
    with database.transaction() as cursor:
        for part, usd in parts.items():
            cursor.execute(_KEEP, {**common, "part": part, "usd": usd})
    return len(parts)
