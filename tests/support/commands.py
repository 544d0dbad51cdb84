"""Commands of ``marquee``, run in the process of the test."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from marquee.cli.main import main
from marquee.registry.object_store.file_store import FileStore

Call = Callable[..., str]
"""Runs a command with ``words``, checks its exit ``code`` and returns its output, or its errors if the code is 1."""


def call_on(
    store: FileStore,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *command: str,
) -> Call:
    """Return a function that runs ``marquee COMMAND WORDS`` on an object store and a database."""
    monkeypatch.setenv("MARQUEE_OBJECTS_URL", store.root.as_uri())
    monkeypatch.setenv("MARQUEE_DATABASE_URL", database_url)

    def call(*words: str, code: int = 0) -> str:
        assert main([*command, *words]) == code
        out, err = capsys.readouterr()
        return err if code == 1 else out

    return call
