"""``marquee db rejected``: show and replay requests that ``ingest`` could not read."""

from __future__ import annotations

import argparse
from contextlib import closing
from typing import Any

import msgspec

from marquee.cli.argument_types import bounded_int
from marquee.cli.selection_arguments import add_selection_action, selected_times
from marquee.config.settings import Settings
from marquee.db.pool import Database
from marquee.db.privacy_marks import MarkReader
from marquee.events.log_scale import LogScale
from marquee.events.parser import EventParser
from marquee.ingest import rejected
from marquee.ingest.handler import IngestHandler, RejectedEvent
from marquee.ingest.rejected import RejectedSelection, StoredEvent


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _action(actions, "list", "count the events of each reason")
    showing = _action(actions, "show", "show the newest events")
    showing.add_argument("--limit", type=bounded_int(1), default=20, metavar="N", help="number of events (20)")
    _action(actions, "replay", "deliver the events again and remove those that are accepted")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Run the action."""
    since, until = selected_times(args, settings)
    selection = RejectedSelection(args.id, since, until)
    with closing(Database(settings.require("database_url").database_url)) as database:
        if args.action == "list":
            _list(rejected.count_reasons(database, selection), args.json)
        elif args.action == "show":
            _show(rejected.list_newest(database, selection, args.limit), args.json)
        else:
            parser = EventParser(settings.time_zone, LogScale.named(settings.rating_scale))
            handler = IngestHandler(database, parser, MarkReader(settings.privacy_key))
            _replayed(rejected.replay_events(database, selection, lambda event: _accepts(handler, event)), args.json)
    return 0


def _accepts(handler: IngestHandler, event: StoredEvent) -> bool:
    # An event that is rejected again has the same digest, so it is not stored twice.
    return not isinstance(handler.accept(event.headers, event.body), RejectedEvent)


def _action(actions: Any, name: str, text: str) -> argparse.ArgumentParser:
    parser = add_selection_action(actions, name, text, "events received")
    parser.add_argument("--id", type=bounded_int(1), metavar="ID", help="only the event with this id")
    return parser


def _list(found: list[rejected.ReasonCount], as_json: bool) -> None:
    if as_json:
        return _print_json(found)
    for row in found:
        print(f"{row.events:>9}  {row.first:%Y-%m-%d %H:%M:%S} .. {row.last:%Y-%m-%d %H:%M:%S}  {row.reason}")
    if not found:
        print("no event was rejected")


def _show(found: list[StoredEvent], as_json: bool) -> None:
    if as_json:
        return _print_json(found)
    for event in found:
        cut = "" if event.complete else f", of which {len(event.body)} are kept"
        print(f"{event.id} {event.received:%Y-%m-%d %H:%M:%S} {event.body_bytes} bytes{cut} {event.digest}")
        print(f"  {event.reason}")
        print(f"  {event.body[:500]!r}")


def _replayed(result: rejected.RejectedReplay, as_json: bool) -> None:
    if as_json:
        return _print_json(result)
    print(
        f"accepted: {result.accepted}; still rejected: {result.rejected}; kept in part, so not replayed: {result.cut}"
    )


def _print_json(document: object) -> None:
    print(msgspec.json.encode(document).decode())
