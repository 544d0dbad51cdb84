"""``marquee run bridge``: forward records from Kafka to the functions.

The command is a small parent; its child consumes. The parent imports none of the child's libraries.
"""

from __future__ import annotations

import argparse
import gc
import logging
import signal
from pathlib import Path
from threading import Event

from marquee.bridge.bridge_limits import DEFAULT_LIMITS, BridgeLimits
from marquee.bridge.health_file import check_health_file
from marquee.bridge.supervisor import supervise
from marquee.cli.stop_signals import set_on_signals
from marquee.config.settings import Settings
from marquee.errors import MarqueeError

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the file for a health check."""
    parser.add_argument(
        "--health-file", type=Path, metavar="FILE", help="touch FILE every second while the bridge works"
    )


def run(args: argparse.Namespace, settings: Settings, limits: BridgeLimits = DEFAULT_LIMITS) -> int:
    """Forward records until SIGTERM or SIGINT, then wait for the batches in flight and commit."""
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings.require("kafka_bootstrap", "delivery_url")
    check_health_file(args.health_file)
    return supervise(lambda: _run_child(settings, limits, args.health_file))


def _run_child(settings: Settings, limits: BridgeLimits, health_file: Path | None) -> int:
    # A fetch makes ten thousand objects that live as long as their batch, so frequent collections find nothing.
    gc.set_threshold(100_000)
    stop = set_on_signals(signal.SIGTERM, signal.SIGINT)
    try:
        forward(settings, stop, limits, health_file)
    except MarqueeError as error:
        log.error("%s", error)
        return 1
    return 0


def forward(
    settings: Settings, stop: Event, limits: BridgeLimits = DEFAULT_LIMITS, health_file: Path | None = None
) -> None:
    """Run one bridge in this process until ``stop`` is set."""
    from marquee.bridge.consumer import Bridge
    from marquee.bridge.delivery.delivery_factory import connect_delivery
    from marquee.bridge.exporter import serve_metrics

    settings.require("kafka_bootstrap", "delivery_url")
    check_health_file(health_file)
    delivery = connect_delivery(
        settings.delivery_url,
        timeout_s=limits.delivery_timeout_s,
        concurrency=limits.delivery_concurrency,
        secret=settings.delivery_secret,
    )
    bridge = Bridge(settings, delivery, limits=limits, health_file=health_file)
    try:
        with serve_metrics(settings.metrics_address, bridge):
            bridge.run(stop)
    finally:
        delivery.close()
