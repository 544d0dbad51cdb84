"""``marquee run alerts``: the states of the alert rules, evaluated without Grafana."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from marquee.cli.action_arguments import add_json_option
from marquee.cli.argument_types import bounded_float
from marquee.cli.stop_signals import set_on_signals
from marquee.config.settings import Settings
from marquee.db.pool import Database
from marquee.monitoring.alerts.evaluate import Alert
from marquee.monitoring.alerts.rules_file import read_rules
from marquee.monitoring.alerts.watcher import AlertWatcher, create_watcher

RULES = Path("dashboards/alerts.yaml")
FIRING = 3
"""Exit code if a rule fires."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``marquee run alerts``."""
    parser.add_argument("--rules", type=Path, default=RULES, metavar="FILE", help=f"rules file ({RULES})")
    add_json_option(parser)
    parser.add_argument(
        "--dashboards", default="", metavar="URL", help="address of Grafana or the local page, for links in alerts"
    )
    parser.add_argument(
        "--watch",
        action="store_true",
        help="run until Ctrl-C, print changes, and post them to MARQUEE_SLACK_WEBHOOK if it is set",
    )
    parser.add_argument(
        "--every",
        type=bounded_float(0.1, 3_600),
        default=15.0,
        metavar="S",
        help="seconds between evaluations (15)",
    )
    parser.epilog = f"Exit codes: 0 no rule fires, {FIRING} a rule fires, 1 the states are unknown."


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print the state of each alert; return ``FIRING`` if one fires."""
    settings.require("database_url")
    with closing(Database(settings.database_url)) as database:
        if args.watch:
            return _watch(args, settings, database)
        alerts = AlertWatcher(database, read_rules(args.rules)).evaluate(datetime.now(UTC))
    _print_alerts(alerts, args.json)
    return _exit_code(alerts)


def _watch(args: argparse.Namespace, settings: Settings, database: Database) -> int:
    stop, previous = set_on_signals(signal.SIGTERM), list[Alert]()
    watcher = create_watcher(database, args.rules, settings.slack_webhook, args.dashboards)
    try:
        while not stop.is_set():
            alerts = watcher.evaluate(datetime.now(UTC))
            printed = {(alert.uid, alert.state, *alert.labels.items()) for alert in previous}
            changed = [a for a in alerts if (a.uid, a.state, *a.labels.items()) not in printed]
            _print_alerts(changed, args.json)
            previous = alerts
            stop.wait(args.every)
    except KeyboardInterrupt:
        pass
    return _exit_code(previous)


def _exit_code(alerts: Sequence[Alert]) -> int:
    return FIRING if any(alert.state == "firing" for alert in alerts) else 0


def _print_alerts(alerts: Sequence[Alert], as_json: bool) -> None:
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(alerts)).decode(), flush=True)
        return
    for alert in alerts:
        since = f" since {alert.since:%Y-%m-%d %H:%M:%S} UTC" if alert.since else ""
        labels = f" ({', '.join(alert.labels.values())})" if alert.labels else ""
        value = "" if alert.value is None else f": {alert.value:.4g} {alert.unit}".rstrip()
        print(f"{alert.state.upper():<8} {alert.title}{labels}{value}{since}")
        if alert.state != "normal":
            print(f"         {alert.summary}\n         {alert.runbook}", flush=True)
