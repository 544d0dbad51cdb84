"""Fixtures: the page on a database with the events of one day, and a browser if installed."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from aiohttp import web
from playwright.sync_api import Browser, sync_playwright
from tests.grafana.good_day import write_good_day
from tests.support.database_fixtures import plain_database

from marquee.db.pool import Database
from marquee.grafana import panel_files
from marquee.local.embedded_postgres import EmbeddedPostgres
from marquee.local.process import free_port
from marquee.monitoring.alerts.evaluate import Alert
from marquee.page.server import MAX_QUERIES, DashboardPage, create_application

__all__ = ["plain_database"]
ROOT = Path(__file__).parents[2]
_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Chromium has no sandbox as root, and must not contact other hosts.
_ARGUMENTS = (
    "--no-sandbox --headless --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


@contextmanager
def serve_page(page: DashboardPage) -> Iterator[str]:
    """Serve ``page`` in a thread; yield its URL."""
    loop, port, ready = asyncio.new_event_loop(), free_port(), threading.Event()
    runner = web.AppRunner(create_application(page), shutdown_timeout=0.1)

    def serve() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(runner.setup())
        loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", port).start())
        ready.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert ready.wait(30)
        yield f"http://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def no_alerts() -> Sequence[Alert]:
    return ()


@pytest.fixture(scope="module")
def day_database(postgres: EmbeddedPostgres, migrated_template: str) -> Iterator[Database]:
    """A database with the events of one day."""
    with closing(Database(postgres.create_database("day", migrated_template), connections=MAX_QUERIES)) as database:
        write_good_day(database)
        yield database
    postgres.drop_database("day")


@pytest.fixture(scope="module")
def day_page(day_database: Database) -> DashboardPage:
    return DashboardPage(
        day_database,
        panel_files.read_boards(ROOT / "dashboards"),
        no_alerts,
        "24h",
        ROOT / "docs/runbooks",
    )


@pytest.fixture(scope="module")
def day_url(day_page: DashboardPage) -> Iterator[str]:
    """The URL of the page on the database of one day."""
    with serve_page(day_page) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium. Without one the tests are skipped, or fail with REQUIRE_BROWSER (CI)."""
    if _CHROMIUM is None:
        reason = "chromium is not installed (Debian: apt-get install chromium): no test in a browser"
        if os.environ.get("REQUIRE_BROWSER"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=_ARGUMENTS.split())
        yield browser
        browser.close()


def insert_rollback(database: Database, ago: str, reason: str) -> None:
    """Insert the decision of the monitor to roll an experiment back."""
    with database.transaction() as cursor:
        cursor.execute(
            "INSERT INTO experiment_decisions SELECT now() - %s::interval, 'e', 1, NULL, 'back', 0, '', %s, 'harmed', "
            "198, 0, '', 1, 1, 0, ''",
            (ago, reason),
        )
