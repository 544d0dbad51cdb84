"""A PostgreSQL database with a day of the stream, of which the newest five minutes have the real stream's rate.

Its users have a rating and a watch session of the half year before, but for a fiftieth, who are new.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg2

from benchmarks.empty_database import empty_database
from marquee.db import rollups
from marquee.db.pool import Database
from marquee.monitoring import app_outcome_hours, attribution, availability, experiment_days, live_accuracy
from marquee.monitoring.live_fairness import LiveFairness

REAL_DAY = 136_000_000
"""Watches of a day of the real stream."""
NEW = timedelta(minutes=5)
NEW_WATCHES = REAL_DAY * NEW // timedelta(days=1)
"""Watches of the newest five minutes, which no run of the monitor has seen."""
CALLER_TIMEOUT_MS = 600
_SQL = Path(__file__).with_suffix(".sql")


@contextmanager
def stream_day(watches: int) -> Iterator[tuple[Database, datetime]]:
    """Yield a database with ``watches`` watches of a day, evaluated, and five new minutes; and the end of that day."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    with empty_database() as server:
        _execute(server.url, _SQL.read_text())
        with closing(Database(server.url, connections=2)) as database:
            day = timedelta(days=1) - NEW
            _execute(server.url, "CALL write_history(%s, %s)", watches, now)
            _write(server.url, watches, now - NEW - day, day, 0)
            _execute(server.url, "CALL write_monitored(%s)", now)
            _execute(server.url, "CALL write_uses(%s, %s)", watches // 100, now)
            _evaluate(database, now - NEW)
            _write(server.url, NEW_WATCHES, now - NEW, NEW, watches + 1_000)
            _execute(server.url, "VACUUM ANALYZE")
            yield database, now


def _write(url: str, watches: int, start: datetime, span: timedelta, base: int) -> None:
    watchers = max(1, round(watches * timedelta(minutes=1) / span))
    _execute(
        url,
        "CALL write_stream(%s, %s, %s, %s, %s)",
        watches,
        start,
        span.total_seconds(),
        base,
        watchers,
    )


def _evaluate(database: Database, now: datetime) -> None:
    """Bring the monitor's tables up to date."""
    while rollups.roll_up(database):
        pass
    while live_accuracy.update_accuracy(database, now):
        pass
    availability.update_availability(database, now, CALLER_TIMEOUT_MS)
    attribution.update_attribution(database, now, budget_s=3_600)
    app_outcome_hours.update_outcome_hours(database)
    with database.transaction() as cursor:
        cursor.execute("SELECT DISTINCT time FROM experiment_hours")
        for (hour,) in cursor.fetchall():
            experiment_days.write_days(cursor, "candidate", hour)
    LiveFairness(lambda _: None).update(database, now, budget_s=3_600)


def _execute(url: str, statement: str, *parameters: object) -> None:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(statement, parameters or None)
