"""``marquee alerts``: the rules of ``dashboards/alerts.yaml``, evaluated as Grafana would, with no Grafana."""

from __future__ import annotations

import argparse
import signal
import threading
from collections.abc import Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from marquee.config.settings import Settings
from marquee.db.pool import Database
from marquee.monitoring.alerts.alert import Alert
from marquee.monitoring.alerts.provisioning import read_notifications, read_rules
from marquee.monitoring.alerts.watcher import Watcher, current
from marquee.monitoring.alerts.webhook import SlackSender

if TYPE_CHECKING:
    from collections.abc import Iterator

RULES = Path("dashboards/alerts.yaml")
POLICY = Path("infra/grafana/provisioning/alerting/slack.yaml")
FIRES = 3
"""The exit code where something fires."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to evaluate, how to show it, and whether to go on."""
    parser.add_argument("--rules", type=Path, default=RULES, metavar="FILE", help=f"the rules ({RULES})")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument(
        "--watch",
        action="store_true",
        help="go on until Ctrl-C, print changes, and tell Slack if MARQUEE_SLACK_WEBHOOK is set",
    )
    parser.add_argument(
        "--every", type=_seconds, default=15.0, metavar="S", help="seconds between looks (15)"
    )
    parser.add_argument(
        "--state", type=Path, metavar="FILE", help="where --watch keeps states for its next start"
    )
    parser.epilog = f"Exit code: 0 nothing fires, {FIRES} something does, 1 it could not be told."


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print every alert's state; returns 3 if one fires."""
    settings.require("database_url")
    with closing(Database(settings.database_url)) as database:
        if args.watch:
            return _watch(args, settings, database)
        found = current(database, read_rules(args.rules), datetime.now(UTC))
    _show(found, args.json)
    return FIRES if any(alert.fires for alert in found) else 0


def _watch(args: argparse.Namespace, settings: Settings, database: Database) -> int:
    stop, before = threading.Event(), list[Alert]()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with watching(database, settings, args.rules, args.state) as watcher:
        try:
            while True:
                found = watcher.evaluate(datetime.now(UTC))
                _show([alert for alert in found if not _known(alert, before)], args.json)
                before = found
                if stop.wait(args.every):
                    break
        except KeyboardInterrupt:
            pass
    return FIRES if any(alert.fires for alert in before) else 0


@contextmanager
def watching(database: Database, settings: Settings, rules: Path, state: Path | None) -> Iterator[Watcher]:
    """A watcher of the rules that tells Slack where the settings name a webhook."""
    policy = read_notifications(rules.parents[1] / POLICY).policies[0]
    sender = SlackSender(settings.slack_webhook, settings.dashboards_url) if settings.slack_webhook else None
    try:
        tell = sender.tell if sender else None
        yield Watcher(database, read_rules(rules), policy, tell=tell, file=state)
    finally:
        if sender:
            sender.close()


def _known(alert: Alert, before: Sequence[Alert]) -> bool:
    return any((a.uid, a.labels, a.state) == (alert.uid, alert.labels, alert.state) for a in before)


def _show(found: Sequence[Alert], as_json: bool) -> None:
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(found)).decode(), flush=True)
        return
    for alert in found:
        since = f" since {alert.since:%Y-%m-%d %H:%M:%S} UTC" if alert.since else ""
        of = f" ({', '.join(alert.labels.values())})" if alert.labels else ""
        print(f"{alert.state.upper():<8} {alert.title}{of}{since}")
        if alert.state != "normal":
            print(f"         {alert.summary}\n         {alert.runbook}", flush=True)


def _seconds(raw: str) -> float:
    try:
        value = float(raw)
    except ValueError:
        value = 0.0
    if not 0.1 <= value <= 3_600:
        raise argparse.ArgumentTypeError(f"{raw!r}: it should be a number of seconds from 0.1 to 3600")
    return value
