"""Fixtures of the privacy tests: databases of both kinds, and a store."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.database_fixtures import database, empty, kind, parser, plain_database, url

from marquee.registry.object_store.file_store import FileStore

__all__ = ["database", "empty", "kind", "parser", "plain_database", "url"]


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    """Return an empty store."""
    return FileStore(tmp_path / "objects")


@pytest.fixture
def remote(tmp_path: Path) -> FileStore:
    """Return an empty DVC remote."""
    return FileStore(tmp_path / "remote")
