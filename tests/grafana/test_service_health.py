"""The dashboard of service health on requests with odd server names."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from dashboards import service_health

from marquee.db.pool import Database
from marquee.grafana.macros import TimeRange
from marquee.grafana.panel_query import run_panel_query

pytestmark = pytest.mark.servers
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("requests", "shown"),
    [
        pytest.param({"127.0.0.1:8082": 500}, {"127.0.0.1:8082": 500}, id="one"),
        pytest.param({"a:1": 400, "b:1": 4}, {"a:1": 400, "b:1": 4}, id="small share"),
        pytest.param(
            {"127.0.0.1:8082": 500, "127U.0.0.1:8082": 2, "127.0.0.1:80A82": 1},
            {"127.0.0.1:8082": 500, "other": 3},
            id="damaged names",
        ),
        pytest.param({f"s{n:02}:1": 9 for n in range(15)}, {f"s{n:02}:1": 9 for n in range(15)}, id="many equal"),
    ],
)
def test_servers_panel_rare_servers_are_shown_as_other(
    database: Database, requests: dict[str, int], shown: dict[str, int]
) -> None:
    """A damaged name in the event log does not count as a server."""
    now = datetime.now(UTC)
    with database.transaction() as cursor:
        for server, count in requests.items():
            cursor.execute(
                "INSERT INTO availability VALUES (%s, %s, %s, %s, 0, 0, 9, 15, 30)",
                (now - timedelta(minutes=5), server, count, count),
            )
    table = run_panel_query(database, service_health.SERVERS.sql, TimeRange(now - HOUR, now))
    assert {row[0]: int(row[1]) for row in table.rows} == shown
    assert {float(row[2]) for row in table.rows} == {1.0}
