"""The bridge's metrics for Prometheus, read from its tally when they are asked for: they cost nothing before."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Protocol

from marquee.bridge.bridge_stats import BridgeStats, Histogram, PartitionState
from marquee.errors import SettingsError

if TYPE_CHECKING:
    from prometheus_client.core import Metric

log = logging.getLogger(__name__)

_COUNTERS = {
    "lines_read": "Lines read from Kafka and put into batches.",
    "lines_accepted": "Lines that the receiver has accepted.",
    "batches_accepted": "Batches that the receiver has accepted.",
    "deliveries_failed": "Attempts that failed, for whatever reason.",
    "deliveries_refused": "Attempts that failed because the receiver called the batch invalid.",
    "retries": "Attempts after the first of a batch.",
    "commits": "Commits that Kafka has confirmed.",
}
_DISTRIBUTIONS = {
    "batch_lines": "Lines of an accepted batch.",
    "delivery_s": "Seconds from submission to acceptance.",
}


class HasStats(Protocol):
    """What there is to measure of a bridge."""

    tally: BridgeStats

    def partitions(self) -> list[PartitionState]:
        """How it stands with each partition."""


class BridgeCollector:
    """Prometheus's view of a bridge; names begin with ``marquee_bridge_``."""

    def __init__(self, bridge: HasStats) -> None:
        self._bridge = bridge

    def collect(self) -> Iterator[Metric]:
        """All metrics as they are now."""
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        tally = self._bridge.tally
        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(f"marquee_bridge_{name}", text, value=getattr(tally, name))
        for name, text in _DISTRIBUTIONS.items():
            found: Histogram = getattr(tally, name)
            counts = list(accumulate(found.counts))
            bounds = [*map(str, map(float, found.bounds)), "+Inf"]
            buckets = list(zip(bounds, counts, strict=True))
            unit = name.replace("delivery_s", "delivery_seconds")
            yield HistogramMetricFamily(f"marquee_bridge_{unit}", text, buckets=buckets, sum_value=found.sum)
        yield from _of_partitions(self._bridge.partitions())


def _of_partitions(partitions: list[PartitionState]) -> Iterator[Metric]:
    now_ms = time.time() * 1000
    yield _gauge(
        "batches_under_way", "Batches not accepted yet.", {p.partition: p.under_way for p in partitions}
    )
    yield _gauge(
        "bytes_held", "Memory that unaccepted lines take.", {p.partition: p.bytes_held for p in partitions}
    )
    yield _gauge("paused", "1 while the partition is not read.", {p.partition: p.paused for p in partitions})
    behind = {p.partition: p.behind for p in partitions if p.behind is not None}
    yield _gauge("lag_lines", "Lines in Kafka not accepted yet, as of the last fetch.", behind)
    ages = {p.partition: _age_s(p.oldest_ms, now_ms) for p in partitions if p.oldest_ms != -1}
    yield _gauge("lag_seconds", "Age of the oldest line that was read and not accepted; 0: none.", ages)


def _age_s(oldest_ms: int | None, now_ms: float) -> float:
    return 0.0 if oldest_ms is None else max(0.0, (now_ms - oldest_ms) / 1000)


def _gauge(name: str, text: str, values: dict[int, Any]) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    gauge = GaugeMetricFamily(f"marquee_bridge_{name}", text, labels=["partition"])
    for partition, value in values.items():
        gauge.add_metric([str(partition)], float(value))
    return gauge


@contextmanager
def serve_metrics(port: int, bridge: HasStats) -> Iterator[None]:
    """Serve the metrics on all addresses at ``port`` meanwhile; 0: do not. Raises ``SettingsError``."""
    if not port:
        yield
        return
    from prometheus_client import CollectorRegistry, start_http_server

    registry = CollectorRegistry()
    registry.register(BridgeCollector(bridge))
    try:
        server, thread = start_http_server(port, registry=registry)
    except OSError as error:
        raise SettingsError(
            f"MARQUEE_METRICS_PORT is {port}, which cannot be listened on: {error}"
        ) from error
    log.info("metrics on port %d", port)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
