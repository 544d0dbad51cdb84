"""The alert rules of the repository, and a database of each kind to evaluate them on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tests.support.database_fixtures import BOTH

from marquee.db.migrate import migrate
from marquee.db.pool import Database
from marquee.monitoring.alerts.rules_file import read_rules

ROOT = Path(__file__).parents[3]
RULES_FILE = ROOT / "dashboards/alerts.yaml"
GROUPS = read_rules(RULES_FILE)
RULES = {rule.uid.removeprefix("marquee-"): rule for group in GROUPS for rule in group.rules}


@pytest.fixture(scope="module", params=BOTH)
def module_database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """Yield one migrated database for the tests of a module, which clear it themselves: creating one is slow."""
    with open_database(request, "alerts") as database:
        yield database


@contextmanager
def open_database(request: pytest.FixtureRequest, name: str) -> Iterator[Database]:
    """Yield a migrated, empty database of the kind that the request's parameter names."""
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
