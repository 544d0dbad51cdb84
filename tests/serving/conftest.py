"""A store of one's own, and one with a release in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.serving.fakes import FlakyStore
from tests.serving.models import released, store_at

from marquee.registry.object_store.file_store import FileStore
from marquee.serving.engine import Engine


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return store_at(tmp_path / "objects")


@pytest.fixture
def flaky(store: FileStore) -> FlakyStore:
    """The store, with faults on demand."""
    return FlakyStore(store)


@pytest.fixture
def engine(store: FileStore) -> Engine:
    """The engine of :func:`tests.serving.models.two_tastes`."""
    return Engine.load(store, released(store))


@pytest.fixture(scope="session")
def engine_of_tastes(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """The same, once for all examples of a property test."""
    store = store_at(tmp_path_factory.mktemp("tastes"))
    return Engine.load(store, released(store))
