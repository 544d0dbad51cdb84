"""``marquee dashboards``: the dashboards as a page of this machine."""

from __future__ import annotations

import argparse
from pathlib import Path

from aiohttp import web

from marquee.dashboards import files
from marquee.errors import MarqueeError
from marquee.page.server import AT_ONCE, RANGES, Page, application
from marquee.settings import Settings
from marquee.telemetry.database import Database

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
    add("--range", choices=tuple(RANGES), default="1h", help="the time that is shown first (1h)")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Serve until Ctrl-C."""
    settings.require("database_url")
    boards = files.read(args.files)
    database = Database(settings.database_url, connections=AT_ONCE, wait_s=10)
    page = Page(database, boards, lambda: (), args.range, args.runbooks)
    print(f"http://127.0.0.1:{args.port}/  (Ctrl-C ends it)", flush=True)
    try:
        web.run_app(
            application(page),
            host="127.0.0.1",
            port=args.port,
            print=None,
            access_log=None,
            shutdown_timeout=1,
        )
    except OSError as error:
        raise MarqueeError(f"It cannot listen on port {args.port} of 127.0.0.1: {error.strerror}") from error
    finally:
        database.close()
    return 0
