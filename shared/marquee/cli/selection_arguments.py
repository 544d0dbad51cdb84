"""Arguments that select stored records or events by time, shared by ``db quarantine`` and ``db rejected``."""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import Any

from marquee.cli.action_arguments import add_action, add_json_option
from marquee.config.settings import Settings
from marquee.config.timestamps import timestamp, with_default_zone


def add_selection_action(actions: Any, name: str, text: str, selected: str) -> argparse.ArgumentParser:
    """Add an action with ``--since``, ``--until`` and ``--json``. ``selected`` names what the times limit."""
    parser = add_action(actions, name, text)
    parser.add_argument("--since", type=timestamp, metavar="TIME", help=f"only {selected} at or after TIME")
    parser.add_argument("--until", type=timestamp, metavar="TIME", help=f"only {selected} before TIME")
    add_json_option(parser)
    return parser


def selected_times(args: argparse.Namespace, settings: Settings) -> tuple[datetime | None, datetime | None]:
    """Return ``--since`` and ``--until``; a time without a zone is in that of the settings."""
    zone = settings.time_zone
    return (
        with_default_zone(args.since, zone) if args.since else None,
        with_default_zone(args.until, zone) if args.until else None,
    )
