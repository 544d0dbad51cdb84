"""Servers that many tests share; each starts when the first test requests it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import count

import psycopg2
import pytest
from hypothesis import settings
from tests.servers.timescale import TimescaleServer

from marquee.db.migrate import migrate
from marquee.db.pool import Database
from marquee.local.embedded_kafka import EmbeddedKafka
from marquee.local.embedded_postgres import EmbeddedPostgres

# A slow machine must not fail an example: there is no deadline.
settings.register_profile("marquee", deadline=None)
settings.load_profile("marquee")

# Several workers share few processors. Threads of BLAS and OpenMP that spin while they wait for a thread that is not
# running turn a retraining of seconds into one of minutes. numpy and numba read these variables when they are first
# imported, which nothing above does; processes that tests start inherit them.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests: files marked ``long`` first, then files by their number of tests.

    ``make test`` gives each worker one file at a time in this order, so no long file starts last.
    """
    sizes = Counter(item.path for item in items)
    long = {item.path for item in items if item.get_closest_marker("long")}
    items.sort(key=lambda item: (item.path not in long, -sizes[item.path]))


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """Start a broker that stores in memory. It is shared: create a topic and a consumer group per test."""
    with EmbeddedKafka(tmp_path_factory.mktemp("kafka"), durable=False) as broker:
        yield broker


_databases = count()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """Start a PostgreSQL server. It is shared: create a database per test, or use ``database_url``.

    It does not wait for the disk, since creating and dropping a database would take a second. Data that its processes
    have written survive their end nevertheless.
    """
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres")) as server:
        with closing(psycopg2.connect(server.admin_url())) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("ALTER SYSTEM SET fsync = off")
                cursor.execute("SELECT pg_reload_conf()")
        yield server


@pytest.fixture(scope="session")
def migrated_template(postgres: EmbeddedPostgres) -> str:
    """Return the name of an empty, migrated database, the template of others."""
    migrate(postgres.create_database("template_marquee"))
    return "template_marquee"


@pytest.fixture
def empty_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """Create a PostgreSQL database without tables, for one test."""
    name = f"test_{next(_databases)}"
    yield postgres.create_database(name)
    postgres.drop_database(name)


@pytest.fixture
def database_url(postgres: EmbeddedPostgres, migrated_template: str) -> Iterator[str]:
    """Create a migrated and empty PostgreSQL database, for one test."""
    name = f"test_{next(_databases)}"
    yield postgres.create_database(name, migrated_template)
    postgres.drop_database(name)


@pytest.fixture(scope="session")
def timescale(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TimescaleServer]:
    """Start a TimescaleDB with one database. It is shared: use ``timescale_url``."""
    with TimescaleServer(tmp_path_factory.mktemp("timescale")) as server:
        yield server


@pytest.fixture
def empty_timescale_url(timescale: TimescaleServer) -> str:
    """Return the URL of a TimescaleDB database without Marquee's tables."""
    timescale.clear()
    return timescale.url


@pytest.fixture
def timescale_url(timescale: TimescaleServer) -> str:
    """Return the URL of a migrated and empty TimescaleDB database."""
    timescale.clear()
    migrate(timescale.url)
    return timescale.url


@pytest.fixture
def postgres_database(database_url: str) -> Iterator[Database]:
    """Connect to a PostgreSQL database of the test, for code that is the same on both kinds."""
    with closing(Database(database_url)) as database:
        yield database


@pytest.fixture(params=["database_url", "timescale_url"])
def each_database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """Connect to PostgreSQL, then to TimescaleDB: migrated and empty."""
    with closing(Database(request.getfixturevalue(request.param))) as database:
        yield database
