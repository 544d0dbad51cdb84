"""Queries of panels are read-only, and limited in time and size."""

from __future__ import annotations

from datetime import timedelta

import pytest

from marquee.db.pool import Database
from marquee.errors import DatabaseUnavailable, PanelRefused
from marquee.grafana.macros import TimeRange
from marquee.grafana.panel_query import run_panel_query

HOUR = TimeRange.last(timedelta(hours=1))


def test_run_panel_query_groups_time_on_both_databases(database: Database) -> None:
    """The same query groups time on PostgreSQL and TimescaleDB. A percent sign is not a placeholder."""
    sql = """
        SELECT $__timeGroupAlias(time,'5m'), 100 % 7 AS "remainder in %"
        FROM (SELECT now() - interval '1 minute' AS time) AS moments WHERE $__timeFilter(time) GROUP BY 1"""
    table = run_panel_query(database, sql, TimeRange.last(timedelta(hours=1)))
    assert table.columns == ("time", "remainder in %")
    assert [row[1] for row in table.rows] == [2]
    assert table.is_complete


def test_run_panel_query_cannot_write(database: Database) -> None:
    """The transaction is read-only."""
    with pytest.raises(DatabaseUnavailable, match="read-only transaction"):
        run_panel_query(database, "SELECT setval(pg_get_serial_sequence('topics', 'topic_key'), 99)", HOUR)


def test_run_panel_query_second_statement_is_refused(database: Database) -> None:
    """A query is one statement."""
    with pytest.raises(PanelRefused, match="one statement"):
        run_panel_query(database, "SELECT 1; COMMIT; DROP TABLE topics", HOUR)


def test_run_panel_query_limits_rows(database: Database) -> None:
    """The result says that it is not complete."""
    table = run_panel_query(database, "SELECT * FROM generate_series(1, 100) AS n", HOUR, max_rows=10)
    assert [row[0] for row in table.rows] == list(range(1, 11))
    assert not table.is_complete


def test_run_panel_query_stops_at_deadline(plain_database: Database) -> None:
    """The connection can be used afterwards."""
    with pytest.raises(DatabaseUnavailable, match="timeout"):
        run_panel_query(plain_database, "SELECT pg_sleep(30)", HOUR, deadline_ms=50)
    assert run_panel_query(plain_database, "SELECT 1 AS one", HOUR).rows == ((1,),), "the connection is good again"
