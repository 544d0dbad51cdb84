"""One query of a panel or of an alert, run as Grafana would, on a database that is only read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from marquee.db.pool import Database
from marquee.errors import PanelRefused
from marquee.grafana.macros import TimeRange, expand

DEADLINE_MS = 5_000
MOST_ROWS = 10_000

_IS_TIMESCALE = "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')"


@dataclass(frozen=True, slots=True)
class Table:
    """What a query gave. ``whole``: whether these are all of its rows."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    whole: bool = True


def run_panel_query(
    database: Database,
    sql: str,
    time: TimeRange,
    *,
    deadline_ms: int = DEADLINE_MS,
    most_rows: int = MOST_ROWS,
    timescale: bool | None = None,
) -> Table:
    """The columns and rows of ``sql`` over ``time``, in a transaction that cannot write.

    ``deadline_ms`` bounds each statement there; no more than ``most_rows`` leave the database.
    ``timescale``: how ``$__timeGroup`` is written; None asks the database. Raises PanelRefused for a query
    that cannot be run as written, DatabaseUnavailable and DatabaseRefused.
    """
    with database.transaction(deadline_ms=deadline_ms) as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")
        statement = _one_statement(expand(sql, time, timescale=_timescale(cursor, timescale)))
        cursor.execute("SET LOCAL cursor_tuple_fraction = 1")  # All rows are wanted, not the first ones soon.
        cursor.execute(f"DECLARE panel NO SCROLL CURSOR FOR {statement}")
        cursor.execute(f"FETCH {most_rows + 1:d} FROM panel")
        rows = cursor.fetchall()
        columns = tuple(column.name for column in cursor.description)
    return Table(columns, tuple(rows[:most_rows]), len(rows) <= most_rows)


def _timescale(cursor: Any, told: bool | None) -> bool:
    if told is not None:
        return told
    cursor.execute(_IS_TIMESCALE)
    return bool(cursor.fetchone()[0])


def _one_statement(sql: str) -> str:
    """Nothing may follow that could end the transaction; so a semicolon is refused, in a text too."""
    statement = sql.strip().removesuffix(";")
    if ";" in statement:
        raise PanelRefused("A panel's query is one statement, and holds no semicolon")
    return statement
