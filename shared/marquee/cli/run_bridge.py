"""``marquee run bridge``: forward records from Kafka to the functions."""

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
    """Add no arguments: the bridge has settings only."""


def run(_: argparse.Namespace, settings: Settings, limits: BridgeLimits = DEFAULT_LIMITS) -> int:
    """Forward records until SIGTERM or SIGINT, then wait for the batches in flight and commit."""
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # A fetch makes ten thousand objects that live as long as their batch, so frequent collections find nothing.
    gc.set_threshold(100_000)
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
        with serve_metrics(settings.metrics_port, bridge, settings.metrics_address):
            bridge.run(stop)
    finally:
        delivery.close()
