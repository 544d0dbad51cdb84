"""``marquee run dashboards``: the dashboards as a local web page."""

from __future__ import annotations

import argparse
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from aiohttp import web

from marquee.cli.argument_types import bounded_int
from marquee.config.settings import Settings
from marquee.db.pool import Database
from marquee.errors import MarqueeError
from marquee.grafana import panel_files
from marquee.monitoring.alerts.watcher import create_watcher, watch_in_background
from marquee.page.server import MAX_QUERIES, RANGES, DashboardPage, create_application

PORT = 3001
_DESCRIPTION = """\
Serve the dashboards of dashboards/*.json without Grafana: the same files, the same queries and the alerts' states.
The server listens on 127.0.0.1 only, only reads, and loads nothing from other hosts.
The database is MARQUEE_DATABASE_URL. A read-only role is enough (infra/compose/reader.sql).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``marquee run dashboards``."""
    parser.description = _DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--port", type=bounded_int(1, 65_535), default=PORT, metavar="N", help=f"port on 127.0.0.1 ({PORT})")
    add("--files", type=Path, default=Path("dashboards"), metavar="DIR", help="dashboards (dashboards)")
    add("--runbooks", type=Path, default=Path("docs/runbooks"), metavar="DIR", help="(docs/runbooks)")
    add("--tell", action="store_true", help="post alerts to MARQUEE_SLACK_WEBHOOK if it is set")
    add("--range", choices=tuple(RANGES), default="1h", help="initial time range (1h)")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Serve until Ctrl-C."""
    settings.require("database_url")
    boards = panel_files.read_boards(args.files)
    alert_settings = settings if args.tell else replace(settings, slack_webhook="")
    rules = args.files / "alerts.yaml"
    with (
        closing(Database(settings.database_url, connections=MAX_QUERIES, wait_s=10)) as database,
        closing(Database(settings.database_url)) as alert_database,
        watch_in_background(create_watcher(alert_database, rules, alert_settings)) as alerts,
    ):
        print(f"http://127.0.0.1:{args.port}/  (Ctrl-C stops it)", flush=True)
        _serve(DashboardPage(database, boards, alerts, args.range, args.runbooks), args.port)
    return 0


def _serve(page: DashboardPage, port: int) -> None:
    try:
        web.run_app(
            create_application(page),
            host="127.0.0.1",
            port=port,
            print=None,
            access_log=None,
            shutdown_timeout=1,
        )
    except OSError as error:
        raise MarqueeError(f"Cannot listen on 127.0.0.1:{port}: {error.strerror}") from error
