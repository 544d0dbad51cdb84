"""Fixtures of retrainings: base data, an object store and a database."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.base_data import base, base_data
from tests.training.runs import write_block_ratings

from marquee.db.pool import Database
from marquee.registry.object_store.file_store import FileStore

__all__ = ["base", "base_data"]


@pytest.fixture
def block_base(tmp_path: Path) -> Path:
    """About 3,300 ratings of 100 users, spread over 999 s from 1970 on."""
    return write_block_ratings(tmp_path / "base", users=25, items=30)


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "objects")


@pytest.fixture
def database(postgres_database: Database) -> Database:
    return postgres_database
