"""Tests of the Prometheus exporter of a bridge."""

from __future__ import annotations

import threading
import urllib.request

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.bridge.bridge_harness import LIMITS, BridgeHarness, numbered_records
from tests.support.waiting import wait_until

from marquee.bridge.bridge_stats import BridgeStats, PartitionState
from marquee.bridge.exporter import BridgeCollector, serve_metrics
from marquee.cli.run_bridge import forward
from marquee.config.settings import Settings
from marquee.errors import SettingsError
from marquee.local.process import free_port

Samples = dict[tuple[str, str], float]


def scrape(port: int) -> Samples:
    """Return the value of each sample by its name and its partition or bucket."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {
        (sample.name.removeprefix("marquee_bridge_"), "".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class FakeBridge:
    """A bridge with two partitions, one of which is behind."""

    def __init__(self) -> None:
        self.stats = BridgeStats(records_read=700, records_accepted=600, retries=3)
        for records in (1, 100, 101, 99_999):
            self.stats.batch_records.add(records)

    def partitions(self) -> list[PartitionState]:
        return [PartitionState(0, 2, 5_000, True, 0, 40), PartitionState(1, 0, 0, False, None, None)]


def test_serve_metrics_exports_all_stats() -> None:
    """Counters, cumulative buckets, and gauges by partition; unknown values are left out."""
    port = free_port()
    with serve_metrics(f"127.0.0.1:{port}", FakeBridge()):
        samples = scrape(port)
    assert samples["records_read_total", ""] == 700
    assert samples["retries_total", ""] == 3
    assert [samples["batch_records_bucket", bound] for bound in ("1.0", "100.0", "500.0", "20000.0", "+Inf")] == [
        1,
        2,
        3,
        3,
        4,
    ]
    assert samples["batch_records_sum", ""] == 100_201
    assert (samples["lag_records", "0"], samples["paused", "0"], samples["batches_in_flight", "0"]) == (
        40,
        1,
        2,
    )
    assert samples["lag_seconds", "0"] > 10**9
    assert samples["lag_seconds", "1"] == 0
    assert ("lag_records", "1") not in samples


def test_serve_metrics_listens_on_its_address_only() -> None:
    """It is reachable from other machines only if the setting says so; by default there are no metrics."""
    assert Settings().metrics_address == ""
    for address in ("127.0.0.1", "0.0.0.0"):
        port = free_port()
        with serve_metrics(f"{address}:{port}", FakeBridge()):
            mine = psutil.Process().net_connections("tcp4")
            assert [c.laddr.ip for c in mine if c.status == "LISTEN" and c.laddr.port == port] == [address]


@pytest.mark.parametrize("address", ["192.0.2.1", "nowhere.invalid"])
def test_serve_metrics_wrong_address_raises_settings_error(address: str) -> None:
    """The message names the setting."""
    with (
        pytest.raises(SettingsError, match=f"MARQUEE_METRICS_ADDRESS is {address}"),
        serve_metrics(f"{address}:{free_port()}", FakeBridge()),
    ):
        pass


def test_serve_metrics_used_port_raises_settings_error() -> None:
    """The message names the setting."""
    address = f"127.0.0.1:{free_port()}"
    with (
        serve_metrics(address, FakeBridge()),
        pytest.raises(SettingsError, match="MARQUEE_METRICS_ADDRESS"),
        serve_metrics(address, FakeBridge()),
    ):
        pass


@pytest.mark.servers
def test_serve_metrics_running_bridge_exports_lag(harness: BridgeHarness) -> None:
    """While the receiver refuses, records wait and attempts are counted; afterwards the lag is 0."""
    port, stop = free_port(), threading.Event()
    harness.receiver.always = 503
    harness.produce(numbered_records(400))
    settings = Settings.from_mapping(harness.environment(METRICS_ADDRESS=f"127.0.0.1:{port}"))
    thread = threading.Thread(target=forward, args=(settings, stop, LIMITS), daemon=True)
    thread.start()
    harness.receiver.wait_for(lambda: len(harness.receiver.refused) >= 10)
    samples = scrape(port)
    assert samples["records_accepted_total", ""] == 0
    assert samples["deliveries_failed_total", ""] >= samples["retries_total", ""] > 0
    assert sum(samples["batches_in_flight", partition] for partition in "01") >= 4
    harness.receiver.always = None
    harness.await_commit(200, 200)
    wait_until(lambda: scrape(port)["records_accepted_total", ""] == 400)
    samples = scrape(port)
    assert [samples["lag_records", partition] for partition in "01"] == [0, 0]
    assert samples["batch_records_count", ""] == samples["batches_accepted_total", ""]
    assert samples["delivery_seconds_count", ""] == samples["batches_accepted_total", ""]
    stop.set()
    thread.join(60)


@pytest.mark.parametrize(
    ("oldest_ms", "known"), [(-1, False), (-2, False), (1_790_000_000_000_000, False), (None, True)]
)
def test_collect_odd_timestamp_has_no_lag(oldest_ms: int | None, known: bool) -> None:
    """An unknown timestamp is neither an age of decades nor of zero."""

    class Stub:
        stats = BridgeStats()

        def partitions(self) -> list[PartitionState]:
            return [PartitionState(0, 0, 0, False, oldest_ms, None)]

    families = {family.name: family for family in BridgeCollector(Stub()).collect()}
    assert [sample.value for sample in families["marquee_bridge_lag_seconds"].samples] == ([0.0] if known else [])
