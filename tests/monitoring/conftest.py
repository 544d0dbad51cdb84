"""A database, what is written to it, and a store of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.monitoring.live_stream import Stream

from marquee.db.pool import Database
from marquee.registry.object_store.file_store import FileStore


@pytest.fixture
def database(plain: Database) -> Database:
    return plain


@pytest.fixture
def topic_key(database: Database) -> Stream:
    return Stream(database)


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "objects")
