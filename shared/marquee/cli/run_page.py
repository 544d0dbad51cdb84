"""``marquee dashboards``: the dashboards as a page of this machine."""

from __future__ import annotations

import argparse
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from aiohttp import web

from marquee.cli.run_alerts import watching
from marquee.config.settings import Settings
from marquee.db.pool import Database
from marquee.errors import MarqueeError
from marquee.grafana import panel_files
from marquee.page.server import AT_ONCE, RANGES, DashboardPage, application
from marquee.page.watch import watched

PORT = 3001
_DESCRIPTION = """\
The dashboards of dashboards/*.json as a page, without Grafana: the same files, the same queries, drawn live;
and the alerts' states. It listens on 127.0.0.1 alone, only reads, and loads nothing from elsewhere.
The database is MARQUEE_DATABASE_URL; a role that can only read is enough (infra/compose/reader.sql).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``marquee dashboards``."""
    parser.description = _DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--port", type=int, default=PORT, metavar="N", help=f"where it listens, on 127.0.0.1 ({PORT})")
    add("--files", type=Path, default=Path("dashboards"), metavar="DIR", help="the dashboards (dashboards)")
    add("--runbooks", type=Path, default=Path("docs/runbooks"), metavar="DIR", help="(docs/runbooks)")
    add("--state", type=Path, metavar="FILE", help="where the alerts' states are kept for the next start")
    add("--tell", action="store_true", help="tell Slack of alerts, if MARQUEE_SLACK_WEBHOOK is set")
    add("--range", choices=tuple(RANGES), default="1h", help="the time that is shown first (1h)")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Serve until Ctrl-C."""
    settings.require("database_url")
    boards = panel_files.read_boards(args.files)
    told = settings if args.tell else replace(settings, slack_webhook="")
    with (
        closing(Database(settings.database_url, connections=AT_ONCE, wait_s=10)) as database,
        closing(Database(settings.database_url)) as for_rules,
        watching(for_rules, told, args.files / "alerts.yaml", args.state) as watcher,
        watched(watcher) as alerts,
    ):
        print(f"http://127.0.0.1:{args.port}/  (Ctrl-C ends it)", flush=True)
        _serve(DashboardPage(database, boards, alerts, args.range, args.runbooks), args.port)
    return 0


def _serve(page: DashboardPage, port: int) -> None:
    try:
        web.run_app(
            application(page), host="127.0.0.1", port=port, print=None, access_log=None, shutdown_timeout=1
        )
    except OSError as error:
        raise MarqueeError(f"It cannot listen on port {port} of 127.0.0.1: {error.strerror}") from error
