"""Fixtures: an empty store, a store that fails on demand, and engines."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.serving.fakes import FlakyStore
from tests.serving.models import catalog_model, release_model

from marquee.registry.object_store.file_store import FileStore
from marquee.serving.engine import Engine


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "objects")


@pytest.fixture
def flaky(store: FileStore) -> FlakyStore:
    """The store, which is unavailable on demand."""
    return FlakyStore(store)


@pytest.fixture
def engine(store: FileStore) -> Engine:
    """The engine of :func:`tests.serving.models.two_group_model`."""
    return Engine.load(store, release_model(store))


@pytest.fixture(scope="session")
def shared_engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """The same engine, once for all examples of a property test."""
    store = FileStore(tmp_path_factory.mktemp("store"))
    return Engine.load(store, release_model(store))


@pytest.fixture(scope="session")
def catalog_engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """The engine of :func:`tests.serving.models.catalog_model`, whose movies have attributes."""
    store = FileStore(tmp_path_factory.mktemp("store"))
    return Engine.load(store, release_model(store, catalog_model()))
