"""The estimate for the measured load, on both kinds of database."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from marquee.costs.estimates import estimate, measured_load
from marquee.costs.load import Load
from marquee.db.pool import Database

pytestmark = pytest.mark.servers
NOW = datetime.now(UTC)


@pytest.fixture
def database(both: Database) -> Database:
    return both


def fill(database: Database, hours: int, lines: int, requests: int) -> None:
    """So many hours of deliveries, the lines and the requests of each; before them a busy day that is over."""
    with database.transaction() as cursor:
        cursor.execute(
            "INSERT INTO deliveries_per_minute SELECT now() - make_interval(hours => h), 1, 0, 1, %s, 0, 1, 1 "
            "FROM generate_series(1, %s) AS h UNION ALL SELECT now() - INTERVAL '30 hours', 1, 0, 1, 1000000, 0, 1, 1",
            (lines, hours),
        )
        cursor.execute(
            "INSERT INTO recommendation_requests SELECT now() - make_interval(hours => h), 1, 0, h * 1000 + n, "
            "'u', 's', 200, '{}', '', 20 FROM generate_series(1, %s) AS h, generate_series(1, %s) AS n",
            (hours, requests),
        )


def test_an_empty_database_has_no_load(database: Database) -> None:
    """And an estimate all the same: what stands still."""
    assert measured_load(database) == Load(0, 0)
    estimate(database, NOW)
    ((usd,),) = database.read("SELECT sum(usd_per_month) FROM cost_estimates", deadline_ms=5_000)
    assert 20 < usd < 200


def test_the_load_is_the_mean_since_the_system_began(database: Database) -> None:
    """Two hours of 7,200 lines and 72 requests: two lines and a fiftieth of a request a second."""
    fill(database, 2, 7_200, 72)
    load = measured_load(database)
    assert load.lines_per_second == pytest.approx(2, rel=0.01)
    assert load.requests_per_second == pytest.approx(0.02, rel=0.01)


def test_an_hour_has_one_estimate(database: Database) -> None:
    """The last one: a row a part, with the load it is for."""
    parts = estimate(database, NOW)
    fill(database, 2, 7_200_000, 72)
    assert estimate(database, NOW) == parts
    found = database.read("SELECT part, lines_per_second FROM cost_estimates", deadline_ms=5_000)
    assert len(found) == parts
    assert {round(lines) for _, lines in found} == {2_000}
