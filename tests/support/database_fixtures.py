"""Fixtures of databases: every promise about the tables is tested on both kinds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from zoneinfo import ZoneInfo

import pytest

from marquee.db.pool import Database
from marquee.events.parser import EventParser

BOTH = [
    pytest.param("postgresql", marks=pytest.mark.servers),
    pytest.param("timescale", marks=pytest.mark.servers),
]


@pytest.fixture(params=BOTH)
def kind(request: pytest.FixtureRequest) -> str:
    """Return "postgresql" and "timescale" in turn."""
    return str(request.param)


@pytest.fixture
def url(kind: str, request: pytest.FixtureRequest) -> str:
    """Return an up-to-date, empty database of each kind."""
    return str(request.getfixturevalue("database_url" if kind == "postgresql" else "timescale_url"))


@pytest.fixture
def empty(kind: str, request: pytest.FixtureRequest) -> str:
    """Return a database without any table, of each kind."""
    return str(request.getfixturevalue("empty_url" if kind == "postgresql" else "empty_timescale_url"))


@pytest.fixture
def database(url: str, kind: str) -> Iterator[Database]:
    """Provide a database of each kind; the test's TimescaleDB has no COPY, so the other path is tested too."""
    with closing(Database(url, copies=kind == "postgresql")) as database:
        yield database


@pytest.fixture
def plain_database(database_url: str) -> Iterator[Database]:
    """Provide a PostgreSQL database, for code that is the same on both kinds."""
    with closing(Database(database_url, connections=4)) as database:
        yield database


@pytest.fixture
def parser() -> EventParser:
    """Return a parser in UTC with ratings up to 5."""
    return EventParser(ZoneInfo("UTC"))
