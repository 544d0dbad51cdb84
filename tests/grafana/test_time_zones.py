"""Queries do not depend on the database's session time zone."""

from __future__ import annotations

import re
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.grafana.good_day import write_good_day
from tests.monitoring.alerts.conftest import RULES

from marquee.db.pool import Database
from marquee.events.log_scale import FIVE_STARS
from marquee.grafana import panel_files
from marquee.grafana.macros import TimeRange
from marquee.grafana.panel_query import run_panel_query
from marquee.monitoring import batch_checks
from marquee.monitoring.alerts.evaluate import evaluate_rule

ROOT = Path(__file__).parents[2]
BOARDS = panel_files.read_boards(ROOT / "dashboards")
NOW = datetime(2026, 4, 5, 12, 40, tzinfo=UTC)  # The day on which Lord Howe's clocks go back by half an hour.
# Expressions that depend on the session's zone: truncation without a zone, days, formatted times.
BARE = re.compile(
    r"date_trunc\((?![^;]*?,\s*'UTC'\))|::date\b|\bto_char\(|\bCURRENT_DATE\b|\bLOCALTIME|::timestamp\b"
    r"|\bAT TIME ZONE\b",
    re.IGNORECASE,
)


def read_all(database: Database) -> dict[str, Any]:
    """Return the result of every panel over an hour and a day, of every alert and of every check."""
    results: dict[str, Any] = {}
    for span in (timedelta(hours=1), timedelta(days=1)):
        time = TimeRange(NOW - span, NOW, TimeRange.last(span).interval)
        for board in BOARDS.values():
            for panel in board.panels:
                table = run_panel_query(database, panel.sql, time)
                results[f"{board.title}: {panel.title} ({span})"] = (table.columns, table.rows)
    for name, rule in RULES.items():
        results[name] = evaluate_rule(database, rule, NOW)
    results["checks"] = batch_checks.check_batches(database, NOW, FIVE_STARS)
    return results


@pytest.mark.servers
@pytest.mark.parametrize("zone", ["Asia/Kolkata", "Australia/Lord_Howe"])
def test_queries_in_zone_with_half_hour_offset_equal_utc(zone: str, postgres_database: Database) -> None:
    """Panels, alerts and checks give the same rows under every time zone of the database."""
    with postgres_database.transaction() as cursor:
        cursor.execute("SET LOCAL timezone = 'UTC'")
        cursor.execute("SELECT current_database()")
        ((name,),) = cursor.fetchall()
        cursor.execute(f"ALTER DATABASE \"{name}\" SET timezone = 'UTC'")
    with closing(Database(postgres_database.url)) as utc:
        write_good_day(utc, NOW)
        expected = read_all(utc)
        with utc.transaction() as cursor:
            cursor.execute(f"ALTER DATABASE \"{name}\" SET timezone = '{zone}'")
    with closing(Database(postgres_database.url)) as elsewhere:
        found = read_all(elsewhere)
    assert {key for key in expected if found[key] != expected[key]} == set()


def queries() -> list[Path]:
    """Return the files that contain SQL."""
    dashboards = ROOT / "dashboards"
    return [
        *sorted((ROOT / "shared/marquee").rglob("*.py")),
        *sorted((ROOT / "shared/marquee").rglob("*.sql")),
        *sorted(dashboards.glob("*.json")),
        dashboards / "alerts.yaml",
    ]


@pytest.mark.parametrize("path", queries(), ids=lambda path: str(path.relative_to(ROOT)))
def test_query_uses_no_session_time_zone(path: Path) -> None:
    """Use date_bin from a fixed origin, or date_trunc(unit, time, 'UTC')."""
    assert BARE.search(path.read_text()) is None


@pytest.mark.parametrize(
    ("sql", "is_bare"),
    [
        ("date_trunc('hour', time)", True),
        ("date_trunc('hour', now(), 'UTC')", False),
        ("time::date", True),
        ("to_char(time, 'HH24')", True),
        ("date_bin('1 hour', time, 'epoch'::timestamptz)", False),
    ],
)
def test_bare_time_expressions_are_found(sql: str, is_bare: bool) -> None:
    """The check tells bare expressions from those with a zone."""
    assert bool(BARE.search(sql)) == is_bare
