"""Execution of the query of a panel or an alert rule, in a read-only transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from marquee.db.pool import Database
from marquee.errors import PanelRefused
from marquee.grafana.macros import TimeRange, expand_macros

DEADLINE_MS = 5_000
MAX_ROWS = 10_000

_IS_TIMESCALE = "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')"


@dataclass(frozen=True, slots=True)
class Table:
    """Result of a query. ``is_complete`` is False if it had more rows."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    is_complete: bool = True


def run_panel_query(
    database: Database,
    sql: str,
    time: TimeRange,
    *,
    deadline_ms: int = DEADLINE_MS,
    max_rows: int = MAX_ROWS,
    timescale: bool | None = None,
) -> Table:
    """Run ``sql``, a query with Grafana's macros, over the range ``time`` in a transaction that cannot write.

    ``deadline_ms`` limits each statement. ``timescale`` is the dialect of ``$__timeGroup``; None asks the database.
    Raises :class:`PanelRefused` if the query cannot be run as written, and :class:`DatabaseUnavailable` or
    :class:`DatabaseRefused` if the database fails.
    """
    with database.transaction(deadline_ms=deadline_ms) as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")
        statement = _check_single_statement(expand_macros(sql, time, timescale=_is_timescale(cursor, timescale)))
        # Plan for fetching all rows, not for a fast first row.
        cursor.execute("SET LOCAL cursor_tuple_fraction = 1")
        cursor.execute(f"DECLARE panel NO SCROLL CURSOR FOR {statement}")
        cursor.execute(f"FETCH {max_rows + 1:d} FROM panel")
        rows = cursor.fetchall()
        columns = tuple(column.name for column in cursor.description)
    return Table(columns, tuple(rows[:max_rows]), len(rows) <= max_rows)


def _is_timescale(cursor: Any, setting: bool | None) -> bool:
    if setting is not None:
        return setting
    cursor.execute(_IS_TIMESCALE)
    return bool(cursor.fetchone()[0])


def _check_single_statement(sql: str) -> str:
    """Refuse a semicolon, even in a literal, because a second statement could end the transaction."""
    statement = sql.strip().removesuffix(";")
    if ";" in statement:
        raise PanelRefused("A panel's query must be one statement without a semicolon")
    return statement
