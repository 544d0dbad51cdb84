"""Prometheus exporter of a bridge: reads its stats at each scrape, at no cost in between."""

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
    "records_read": "Records read from Kafka and put into batches.",
    "records_accepted": "Records that the receiver has accepted.",
    "batches_accepted": "Batches that the receiver has accepted.",
    "deliveries_failed": "Delivery attempts that failed, for any reason.",
    "deliveries_refused": "Delivery attempts that failed because the receiver called the batch invalid.",
    "retries": "Delivery attempts after the first of a batch.",
    "commits": "Commits that Kafka has confirmed.",
}
_HISTOGRAMS = {
    "batch_records": "Records of an accepted batch.",
    "delivery_s": "Seconds from submission to acceptance.",
}


class HasStats(Protocol):
    """The part of a bridge that is exported."""

    stats: BridgeStats

    def partitions(self) -> list[PartitionState]:
        """Return the state of each assigned partition."""


class BridgeCollector:
    """Prometheus collector of a bridge; metric names begin with ``marquee_bridge_``."""

    def __init__(self, bridge: HasStats) -> None:
        self._bridge = bridge

    def collect(self) -> Iterator[Metric]:
        """Yield the current value of every metric."""
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        stats = self._bridge.stats
        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(f"marquee_bridge_{name}", text, value=getattr(stats, name))
        for name, text in _HISTOGRAMS.items():
            histogram: Histogram = getattr(stats, name)
            counts = list(accumulate(histogram.counts))
            bounds = [*map(str, map(float, histogram.bounds)), "+Inf"]
            buckets = list(zip(bounds, counts, strict=True))
            metric = f"marquee_bridge_{name.replace('delivery_s', 'delivery_seconds')}"
            yield HistogramMetricFamily(metric, text, buckets=buckets, sum_value=histogram.sum)
        yield from _partition_gauges(self._bridge.partitions())


def _partition_gauges(partitions: list[PartitionState]) -> Iterator[Metric]:
    now_ms = time.time() * 1000
    in_flight = {p.partition: p.batches_in_flight for p in partitions}
    yield _gauge("batches_in_flight", "Batches that are not accepted yet.", in_flight)
    buffered = {p.partition: p.buffered_bytes for p in partitions}
    yield _gauge("buffered_bytes", "Memory of records that are not accepted yet.", buffered)
    paused = {p.partition: p.paused for p in partitions}
    yield _gauge("paused", "1 while the partition is not read.", paused)
    behind = {p.partition: p.behind for p in partitions if p.behind is not None}
    yield _gauge("lag_records", "Records in Kafka that are not accepted yet, as of the last fetch.", behind)
    ages = {p.partition: _age_s(p.oldest_ms, now_ms) for p in partitions if _is_known(p.oldest_ms, now_ms)}
    yield _gauge("lag_seconds", "Age of the oldest record that was read and not accepted; 0 if none.", ages)


def _is_known(oldest_ms: int | None, now_ms: float) -> bool:
    """Return False for an implausible timestamp: before 1970, or more than a day ahead."""
    return oldest_ms is None or 0 <= oldest_ms <= now_ms + 86_400_000


def _age_s(oldest_ms: int | None, now_ms: float) -> float:
    return 0.0 if oldest_ms is None else max(0.0, (now_ms - oldest_ms) / 1000)


def _gauge(name: str, text: str, values: dict[int, Any]) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    gauge = GaugeMetricFamily(f"marquee_bridge_{name}", text, labels=["partition"])
    for partition, value in values.items():
        gauge.add_metric([str(partition)], float(value))
    return gauge


@contextmanager
def serve_metrics(address: str, bridge: HasStats) -> Iterator[None]:
    """Serve the metrics at ``address``, a host and a port; an empty one disables them.

    Raises ``SettingsError`` if nothing can listen there.
    """
    if not address:
        yield
        return
    from prometheus_client import CollectorRegistry, start_http_server

    registry = CollectorRegistry()
    registry.register(BridgeCollector(bridge))
    try:
        host, _, port = address.rpartition(":")
        server, thread = start_http_server(int(port), host.strip("[]"), registry)
    except (OSError, OverflowError) as error:
        raise SettingsError(f"MARQUEE_METRICS_ADDRESS is {address}, but nothing can listen there: {error}") from error
    log.info("metrics at http://%s/metrics", address)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
