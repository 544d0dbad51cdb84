"""What Prometheus is told of a bridge is what the bridge has done."""

from __future__ import annotations

import threading
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.bridge.stage import LIMITS, Stage, numbered_lines
from tests.support.waiting import wait_until

from marquee.bridge.bridge_stats import BridgeStats, PartitionState
from marquee.bridge.exporter import serve_metrics
from marquee.cli.run_bridge import forward
from marquee.config.settings import Settings
from marquee.errors import SettingsError
from marquee.local.process import free_port

Samples = dict[tuple[str, str], float]


def scrape(port: int) -> Samples:
    """The value of each sample by its name and its partition or bucket."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {
        (sample.name.removeprefix("marquee_bridge_"), "".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class FakeBridge:
    """Two partitions, one of which is behind."""

    def __init__(self) -> None:
        self.stats = BridgeStats(records_read=700, records_accepted=600, retries=3)
        for lines in (1, 100, 101, 99_999):
            self.stats.batch_records.add(lines)

    def partitions(self) -> list[PartitionState]:
        return [PartitionState(0, 2, 5_000, True, 0, 40), PartitionState(1, 0, 0, False, None, None)]


def test_every_number_is_told() -> None:
    """Counters, buckets that add up, and gauges by partition; what is not known is left out."""
    port = free_port()
    with serve_metrics(port, FakeBridge()):
        found = scrape(port)
    assert found["records_read_total", ""] == 700
    assert found["retries_total", ""] == 3
    assert [
        found["batch_records_bucket", bound] for bound in ("1.0", "100.0", "500.0", "20000.0", "+Inf")
    ] == [
        1,
        2,
        3,
        3,
        4,
    ]
    assert found["batch_records_sum", ""] == 100_201
    assert (found["lag_records", "0"], found["paused", "0"], found["batches_in_flight", "0"]) == (40, 1, 2)
    assert found["lag_seconds", "0"] > 10**9
    assert found["lag_seconds", "1"] == 0
    assert ("lag_records", "1") not in found


def test_port_that_is_taken_is_a_setting_to_mend() -> None:
    port = free_port()
    with (
        serve_metrics(port, FakeBridge()),
        pytest.raises(SettingsError, match="MARQUEE_METRICS_PORT"),
        serve_metrics(port, FakeBridge()),
    ):
        pass


@pytest.mark.servers
def test_running_bridge_tells_its_lag(stage: Stage) -> None:
    """While the receiver refuses, lines wait and attempts are counted; afterwards nothing is behind."""
    port, stop = free_port(), threading.Event()
    stage.receiver.always = 503
    stage.produce(numbered_lines(400))
    settings = Settings.from_mapping(stage.environment(METRICS_PORT=str(port)))
    thread = threading.Thread(target=forward, args=(settings, stop, LIMITS), daemon=True)
    thread.start()
    stage.receiver.wait_for(lambda: len(stage.receiver.refused) >= 10)
    found = scrape(port)
    assert found["records_accepted_total", ""] == 0
    assert found["deliveries_failed_total", ""] >= found["retries_total", ""] > 0
    assert sum(found["batches_in_flight", partition] for partition in "01") >= 4
    stage.receiver.always = None
    stage.await_commit(200, 200)
    wait_until(lambda: scrape(port)["records_accepted_total", ""] == 400)
    found = scrape(port)
    assert [found["lag_records", partition] for partition in "01"] == [0, 0]
    assert found["batch_records_count", ""] == found["batches_accepted_total", ""]
    assert found["delivery_seconds_count", ""] == found["batches_accepted_total", ""]
    stop.set()
    thread.join(60)
