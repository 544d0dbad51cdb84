"""Databases of each kind for the rules, and the rules of the repository."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.grafana.day import fill
from tests.support.database_fixtures import BOTH

from marquee.db.migrate import migrate
from marquee.db.pool import Database
from marquee.monitoring.alerts.provisioning import read_rules

ROOT = Path(__file__).parents[3]
RULES = ROOT / "dashboards/alerts.yaml"
GROUPS = read_rules(RULES)
BY_NAME = {rule.uid.removeprefix("marquee-"): rule for group in GROUPS for rule in group.rules}


@pytest.fixture(scope="module", params=BOTH)
def bare(request: pytest.FixtureRequest) -> Iterator[Database]:
    """Up to date; tests clear it before they write, since to make one for each would take long."""
    with database_of(request, "alerts_bare") as database:
        yield database


@pytest.fixture
def day(plain: Database) -> datetime:
    """A plausible good day in ``plain``: when it ends."""
    return fill(plain, datetime.now(UTC))


@contextmanager
def database_of(request: pytest.FixtureRequest, name: str) -> Iterator[Database]:
    """A database that is up to date and empty, of the kind that the request's parameter names."""
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres")
        url = server.create_database(name, request.getfixturevalue("migrated_template"))
        with closing(Database(url)) as database:
            yield database
        server.drop_database(name)
        return
    server = request.getfixturevalue("timescale")
    server.clear()
    migrate(server.url)
    with closing(Database(server.url, copies=False)) as database:
        yield database
