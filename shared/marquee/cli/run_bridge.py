"""``marquee bridge``, and the job of the same name."""

from __future__ import annotations

import argparse
import gc
import logging
import signal
from threading import Event

from marquee.bridge.bridge_limits import DEFAULT_LIMITS, BridgeLimits
from marquee.bridge.consumer import Bridge
from marquee.bridge.delivery.delivery_factory import connect_delivery
from marquee.bridge.exporter import serve_metrics
from marquee.config.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None: the bridge is set by the environment alone."""


def run(args: argparse.Namespace, settings: Settings, limits: BridgeLimits = DEFAULT_LIMITS) -> int:
    """Forward until SIGTERM or SIGINT; then finish, commit and return 0."""
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    gc.set_threshold(
        100_000
    )  # A fetch is ten thousand objects that live as long as their batch: no young garbage.
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    forward(settings, stop, limits)
    return 0


def forward(settings: Settings, stop: Event, limits: BridgeLimits = DEFAULT_LIMITS) -> None:
    """Run one bridge until ``stop`` is set."""
    settings.require("kafka_bootstrap", "delivery_url")
    delivery = connect_delivery(
        settings.delivery_url,
        timeout_s=limits.delivery_timeout_s,
        concurrency=limits.delivery_concurrency,
    )
    bridge = Bridge(settings, delivery, limits=limits)
    try:
        with serve_metrics(settings.metrics_port, bridge):
            bridge.run(stop)
    finally:
        delivery.close()
