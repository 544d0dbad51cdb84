"""A database, a writer of its rows, and an object store."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.monitoring.experiment_stream import ExperimentStream
from tests.monitoring.live_stream import LiveStream

from marquee.db.pool import Database
from marquee.registry.object_store.file_store import FileStore


@pytest.fixture
def database(postgres_database: Database) -> Database:
    return postgres_database


@pytest.fixture
def stream(database: Database) -> LiveStream:
    return LiveStream(database)


@pytest.fixture
def experiment_stream(database: Database) -> ExperimentStream:
    return ExperimentStream(database)


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "objects")
