"""``marquee db quarantine``: show and replay records that could not be parsed."""

from __future__ import annotations

import argparse
from contextlib import closing
from datetime import datetime
from typing import Any

import msgspec

from marquee.cli.argument_types import bounded_int
from marquee.cli.selection_arguments import add_selection_action, selected_times
from marquee.cli.text_table import text_table
from marquee.config.settings import Settings
from marquee.db.pool import Database
from marquee.db.privacy_marks import MarkReader
from marquee.events.log_scale import LogScale
from marquee.events.parser import EventParser
from marquee.ingest import quarantine
from marquee.ingest.quarantine import Selection


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _action(actions, "list", "count the records of each category")
    showing = _action(actions, "show", "show the newest records and their errors")
    showing.add_argument("--limit", type=bounded_int(1), default=20, metavar="N", help="number of records (20)")
    _action(actions, "replay", "parse the records again and move those that succeed to their tables")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Run the action."""
    since, until = selected_times(args, settings)
    chosen = Selection(args.category, since, until)
    with closing(Database(settings.require("database_url").database_url)) as database:
        if args.action == "list":
            _list(quarantine.count_categories(database, chosen), args.json)
        elif args.action == "show":
            _show(quarantine.list_newest(database, chosen, args.limit), args.json)
        else:
            parser = EventParser(settings.time_zone, LogScale.named(settings.rating_scale))
            _print_replay(
                quarantine.replay_records(database, chosen, parser, MarkReader(settings.privacy_key)), args.json
            )
    return 0


def _action(actions: Any, name: str, text: str) -> argparse.ArgumentParser:
    parser = add_selection_action(actions, name, text, "records with a Kafka timestamp")
    parser.add_argument("--category", help="only this category, such as movie_id")
    return parser


def _list(counts: list[quarantine.CategoryCount], as_json: bool) -> None:
    if as_json:
        return _print_json(counts)
    if not counts:
        return print("nothing is in quarantine")
    rows = ((c.category, str(c.records), _format_time(c.first), _format_time(c.last)) for c in counts)
    print(text_table(("CATEGORY", "RECORDS", "FIRST", "LAST"), rows))


def _show(records: list[quarantine.QuarantinedRecord], as_json: bool) -> None:
    if as_json:
        return _print_json(records)
    for record in records:
        position = f"{record.topic}/{record.partition}/{record.offset}"
        print(f"{position} {_format_time(record.time)} {record.category}")
        print(f"  {record.detail}")
        print(f"  {record.raw[:500]!r}")


def _print_replay(result: quarantine.ReplayResult, as_json: bool) -> None:
    if as_json:
        return _print_json(result)
    moved = ", ".join(f"{rows} to {table}" for table, rows in result.moved.items()) or "none"
    print(f"moved: {moved}; still not readable: {result.remaining}")


def _format_time(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S}"


def _print_json(document: object) -> None:
    print(msgspec.json.encode(document).decode())
