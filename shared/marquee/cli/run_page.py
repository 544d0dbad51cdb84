"""``marquee run dashboards``: the dashboards as a local web page."""

from __future__ import annotations

import argparse
import os
from contextlib import closing
from pathlib import Path

from aiohttp import web

from marquee.cli.argument_types import bounded_int
from marquee.config.settings import Settings
from marquee.db.pool import Database
from marquee.errors import MarqueeError
from marquee.events.log_scale import LogScale
from marquee.grafana import panel_files
from marquee.monitoring.alerts.watcher import create_watcher, watch_in_background
from marquee.page.playground import Playground, PlaygroundSettings
from marquee.page.server import MAX_QUERIES, RANGES, DashboardPage, create_application

PORT = 3001
KEY_VARIABLE = "PLAYGROUND_KEY"
"""Variable with a key of `recommend` and `events`, where they need one."""
_DESCRIPTION = """\
Serve the dashboards of dashboards/*.json without Grafana: the same files, the same queries and the alerts' states.
The server listens on 127.0.0.1 only, reads only, apart from the playground, and loads nothing from other hosts.
The database is MARQUEE_DATABASE_URL. A read-only role is enough (infra/compose/reader.sql).
With --recommend and --events, /play is a playground that sends ratings to `events` and shows what `recommend` answers;
the releases are those of MARQUEE_OBJECTS_URL. PLAYGROUND_KEY is a key of both functions, where they need one.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``marquee run dashboards``."""
    parser.description = _DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--port", type=bounded_int(1, 65_535), default=PORT, metavar="N", help=f"port on 127.0.0.1 ({PORT})")
    add("--files", type=Path, default=Path("dashboards"), metavar="DIR", help="dashboards (dashboards)")
    add("--runbooks", type=Path, default=Path("docs/runbooks"), metavar="DIR", help="(docs/runbooks)")
    add("--post-alerts", action="store_true", help="post alerts to MARQUEE_SLACK_WEBHOOK if it is set")
    add("--dashboards", default="", metavar="URL", help="address of Grafana, for links in alerts (this page)")
    add("--recommend", default="", metavar="URL", help="URL of `recommend`, for the playground at /play")
    add("--events", default="", metavar="URL", help="URL of `events`, for the playground")
    add("--range", choices=tuple(RANGES), default="1h", help="initial time range (1h)")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Serve until Ctrl-C."""
    settings.require("database_url")
    boards = panel_files.read_boards(args.files)
    rules, webhook_url = args.files / "alerts.yaml", settings.slack_webhook if args.post_alerts else ""
    address = f"http://127.0.0.1:{args.port}"
    with (
        closing(Database(settings.database_url, connections=MAX_QUERIES, wait_s=10)) as database,
        closing(Database(settings.database_url)) as alert_database,
        watch_in_background(create_watcher(alert_database, rules, webhook_url, args.dashboards or address)) as alerts,
    ):
        print(f"{address}/  (Ctrl-C stops it)", flush=True)
        playground = _create_playground(args, settings, database)
        _serve(DashboardPage(database, boards, alerts, args.range, args.runbooks, playground), args.port)
    return 0


def _create_playground(args: argparse.Namespace, settings: Settings, database: Database) -> Playground | None:
    if not (args.recommend and args.events):
        return None
    settings.require("objects_url")
    key = os.environ.get(KEY_VARIABLE, "")
    scale = LogScale.named(settings.rating_scale)
    addresses = PlaygroundSettings(args.recommend, args.events, settings.objects_url, key, scale)
    return Playground(addresses, database)


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
