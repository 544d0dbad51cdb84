"""Servers that many tests share: each is started when the first test asks for it."""

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

# A busy machine is no fault of the code's: no example has a deadline.
settings.register_profile("marquee", deadline=None)
settings.load_profile("marquee")

# Several workers share few processors. Threads of BLAS and of OpenMP that wait for one another by spinning, while the
# one they wait for is not running, make a retraining of seconds one of minutes. Read when numpy and numba are loaded,
# which nothing imported above does; what the tests start inherits it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, then those of many tests: the last to be begun is what the other workers wait for.

    ``make test`` gives each worker a whole file at a time, in this order.
    """
    sizes = Counter(item.path for item in items)
    long = {item.path for item in items if item.get_closest_marker("long")}
    items.sort(key=lambda item: (item.path not in long, -sizes[item.path]))


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """A broker in memory. Shared: make a topic and a consumer group of your own."""
    with EmbeddedKafka(tmp_path_factory.mktemp("kafka"), durable=False) as broker:
        yield broker


_databases = count()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL. Shared: make a database of your own, or take ``database_url``.

    It does not wait for the disk, which making and dropping a database would do for a second; what its processes have
    written outlives them all the same.
    """
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres")) as server:
        with closing(psycopg2.connect(server.url_of("postgres"))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("ALTER SYSTEM SET fsync = off")
                cursor.execute("SELECT pg_reload_conf()")
        yield server


@pytest.fixture(scope="session")
def migrated_template(postgres: EmbeddedPostgres) -> str:
    """The name of an empty database that is up to date, to make others from."""
    migrate(postgres.create_database("template_marquee"))
    return "template_marquee"


@pytest.fixture
def empty_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A PostgreSQL database of this test's own, without any table."""
    name = f"test_{next(_databases)}"
    yield postgres.create_database(name)
    postgres.drop_database(name)


@pytest.fixture
def database_url(postgres: EmbeddedPostgres, migrated_template: str) -> Iterator[str]:
    """A PostgreSQL database of this test's own, up to date and empty."""
    name = f"test_{next(_databases)}"
    yield postgres.create_database(name, migrated_template)
    postgres.drop_database(name)


@pytest.fixture(scope="session")
def timescale(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TimescaleServer]:
    """A TimescaleDB with one database. Shared: take ``timescale_url``."""
    with TimescaleServer(tmp_path_factory.mktemp("timescale")) as server:
        yield server


@pytest.fixture
def empty_timescale_url(timescale: TimescaleServer) -> str:
    """A TimescaleDB database without any table of ours."""
    timescale.clear()
    return timescale.url


@pytest.fixture
def timescale_url(timescale: TimescaleServer) -> str:
    """A TimescaleDB database that is up to date and empty."""
    timescale.clear()
    migrate(timescale.url)
    return timescale.url


@pytest.fixture
def plain(database_url: str) -> Iterator[Database]:
    """A PostgreSQL of the test's own, for what is the same code on both kinds."""
    with closing(Database(database_url)) as database:
        yield database


@pytest.fixture(params=["database_url", "timescale_url"])
def both(request: pytest.FixtureRequest) -> Iterator[Database]:
    """PostgreSQL, and then TimescaleDB: up to date and empty."""
    with closing(Database(request.getfixturevalue(request.param))) as database:
        yield database
