"""A database, what is written to it, and a store of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.evaluation.online import Stream

from marquee.artifacts.file import FileStore
from marquee.telemetry.database import Database


@pytest.fixture
def database(plain: Database) -> Database:
    return plain


@pytest.fixture
def stream(database: Database) -> Stream:
    return Stream(database)


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "objects")
