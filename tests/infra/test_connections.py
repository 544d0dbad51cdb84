"""Database connections of each function: those that infra/functions.yaml counts are those that its code may open."""

from __future__ import annotations

import gc
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import functions_framework
import pytest

from marquee.app.account_profiling import AccountProfiling
from marquee.config.settings import Settings
from marquee.db.pool import Database
from marquee.local.infra_spec import read_functions, read_schedules
from marquee.serving.app import create_service

ROOT = Path(__file__).parents[2]
URL = "postgresql://app@127.0.0.1:1/none"


def load(name: str) -> Any:
    """Load the entry point of a function, outside of an application."""
    spec = importlib.util.spec_from_file_location(f"{name}_main", ROOT / f"functions/{name}/main.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ASSEMBLE: dict[str, Callable[[], object]] = {
    "ingest": lambda: load("ingest")._create(),
    "events": lambda: load("events")._create(),
    "monitor": lambda: load("monitor")._assemble(),
    "recommend": lambda: create_service(Settings(database_url=URL, objects_url="file:///tmp/none")),
    "app": lambda: AccountProfiling(URL, "k" * 32).is_allowed("1"),
}


@pytest.mark.parametrize("name", sorted(read_functions(ROOT)))
def test_function_connections_are_those_of_its_code(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Terraform counts them against what the database accepts, so each process must keep to them."""
    monkeypatch.setenv("MARQUEE_DATABASE_URL", URL)
    monkeypatch.setenv("MARQUEE_OBJECTS_URL", tmp_path.as_uri())
    monkeypatch.setattr(gc, "set_threshold", lambda *_: None)
    # An application that another test of this process has made would take the handlers.
    monkeypatch.setattr(functions_framework, "errorhandler", functions_framework.DummyErrorHandler())  # type: ignore[no-untyped-call]
    opened: list[int] = []
    original = Database.__init__

    def count(self: Database, url: str, **options: Any) -> None:
        opened.append(options.get("connections", 1) + options.get("readers", 1))
        original(self, url, **options)

    monkeypatch.setattr(Database, "__init__", count)
    ASSEMBLE[name]()
    assert sum(opened) == read_functions(ROOT)[name].connections


def test_all_parts_fit_into_the_default_of_postgresql() -> None:
    """Every instance, the jobs, the migration and Grafana's pool of four: 100 connections less three reserved ones."""
    functions = read_functions(ROOT).values()
    needed = sum(spec.instances.max * spec.workers * spec.connections for spec in functions)
    jobs = sum(schedule.function is None for schedule in read_schedules(ROOT).values())
    assert needed + jobs + 1 + 4 <= 97
