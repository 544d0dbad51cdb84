"""Servers that many tests share: each is started when the first test asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import count

import pytest
from hypothesis import settings
from tests.servers.timescale import TimescaleServer

from marquee.local.kafka import EmbeddedKafka
from marquee.local.postgres import EmbeddedPostgres
from marquee.telemetry.database import Database
from marquee.telemetry.migrate import migrate

# A busy machine is no fault of the code's: no example has a deadline.
settings.register_profile("marquee", deadline=None)
settings.load_profile("marquee")


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """A broker in memory. Shared: make a topic and a consumer group of your own."""
    with EmbeddedKafka(tmp_path_factory.mktemp("kafka"), durable=False) as broker:
        yield broker


_databases = count()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL. Shared: make a database of your own, or take ``database_url``."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres")) as server:
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
