"""Fixtures: ``recommend`` as it is deployed, on a store of the test's own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.servers.function import Function, Reply

from marquee.registry.object_store.file_store import FileStore

Start = Callable[..., Function]


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "objects")


@pytest.fixture
def start(store: FileStore, tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts ``recommend`` on ``store``; settings are keyword arguments."""
    started: list[Function] = []

    def make(**settings: str) -> Function:
        env = {
            "MARQUEE_OBJECTS_URL": f"file://{store.root}",
            "MARQUEE_RELEASE_REFRESH_S": "0.1",
            # Tests must not fail on a busy machine.
            "MARQUEE_CALLER_TIMEOUT_MS": "20000",
            "MARQUEE_LOOKUP_DEADLINE_MS": "2000",
            **{name if name.isupper() else f"MARQUEE_{name.upper()}": v for name, v in settings.items()},
        }
        started.append(Function("recommend", tmp_path, env))
        return started[-1].__enter__()

    yield make
    for function in started:
        function.__exit__()


def wait_for_reply(ask: Callable[[], Reply], wanted: Callable[[Reply], bool]) -> Reply:
    """Repeat a request until the reply is as expected; every reply on the way must have status 200."""
    deadline = time.monotonic() + 30
    while True:
        reply = ask()
        assert reply.status == 200, reply
        if wanted(reply):
            return reply
        assert time.monotonic() < deadline, reply
        time.sleep(0.02)
