"""Tests of the bridge on a real broker: at least once, and no commit before acceptance."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from tests.bridge.bridge_harness import LIMITS, PARTITIONS, BridgeHarness, numbered_records
from tests.servers.pubsub import PubSubServer
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.servers, pytest.mark.long]


def test_bridge_delivers_each_record_once_in_order_and_commits(harness: BridgeHarness) -> None:
    """Without faults: each offset once, bounded batches, everything committed at the end."""
    harness.produce(numbered_records(1000))
    with harness.bridge():
        harness.await_arrival(1000)
    assert all(offsets == Counter(range(500)) for offsets in harness.offsets().values())
    assert harness.committed() == [500, 500]
    records = {partition: received for (_, _, partition), received in harness.receiver.records().items()}
    assert all(len(envelope.data) < 20_000 for envelope in harness.receiver.accepted)
    values = numbered_records(1000)
    assert sorted(records[0], key=lambda r: r.offset)[7].raw == values[14]
    assert abs(records[0][0].timestamp_ms / 1000 - time.time()) < 600


def test_bridge_delivers_any_bytes(harness: BridgeHarness) -> None:
    """Not UTF-8, empty, no value, NUL, and half a megabyte with batches of 1000 bytes."""
    values = [b"\xff\xfe\x00", b"", None, b"a\0b", b"x" * 500_000, "größe".encode()]
    harness.produce(values)
    with harness.bridge(replace(LIMITS, max_bytes=1000)):
        harness.await_arrival(6)
    arrived = [record.raw for records in harness.receiver.records().values() for record in records]
    assert sorted(arrived) == sorted(value or b"" for value in values)
    coded = [r for records in harness.receiver.records().values() for r in records if r.base64 is not None]
    assert [record.raw for record in coded] == [b"\xff\xfe\x00"]


def test_bridge_commits_nothing_while_receiver_refuses(harness: BridgeHarness) -> None:
    """Once the receiver accepts again, everything arrives: no record was skipped."""
    harness.receiver.always = 503
    harness.produce(numbered_records(400))
    with harness.bridge(replace(LIMITS, drain_s=0.2)):
        harness.receiver.wait_for(lambda: len(harness.receiver.refused) >= 10)
    assert harness.committed() == [0, 0]
    with harness.bridge():
        harness.receiver.wait_for(lambda: len(harness.receiver.refused) >= 20)
        assert harness.committed() == [0, 0]
        harness.receiver.always = None
        harness.await_commit(200, 200)
    assert harness.all_arrived(400)


def test_bridge_redelivers_after_lost_answer(harness: BridgeHarness) -> None:
    """The receiver accepted the batch, but the bridge cannot know."""
    harness.receiver.lose_answers = 1
    harness.produce(numbered_records(100))
    with harness.bridge():
        harness.await_arrival(100)
        harness.receiver.wait_for(lambda: len(harness.receiver.texts()) > 100)
    assert harness.committed() == [50, 50]


def test_bridge_refused_batch_blocks_commit_of_its_partition(harness: BridgeHarness) -> None:
    """Later batches are delivered; the commit waits for the refused one."""
    harness.produce(numbered_records(1000))
    harness.receiver.answers.extend([400])  # Permanent: retried after 30 s.
    with harness.bridge(replace(LIMITS, drain_s=0.2, max_in_flight=100, delivery_concurrency=1)):
        harness.await_arrival(900)
    assert sorted(harness.committed()) == [0, 500]
    with harness.bridge():
        harness.await_commit(500, 500)
    assert harness.all_arrived(1000)


def test_bridge_slow_receiver_limits_reading(harness: BridgeHarness) -> None:
    """The bridge reads no further than its window: 20,000 records wait in Kafka, not in memory."""
    harness.receiver.hold.clear()
    harness.produce(numbered_records(20_000))
    with harness.bridge(replace(LIMITS, max_in_flight=3, delivery_concurrency=64)):
        harness.receiver.wait_for(lambda: len(harness.receiver.accepted) >= 2 * 3)
        time.sleep(0.5)
        # One read of 100 lines may come on top of a window that was not quite full.
        assert harness.receiver.max_in_flight <= PARTITIONS * (3 + 1)
        assert harness.committed() == [0, 0]
        harness.receiver.hold.set()
        harness.await_arrival(20_000)
    assert all(offsets == Counter(range(10_000)) for offsets in harness.offsets().values())
    assert harness.committed() == [10_000, 10_000]


def test_bridge_delivers_through_pubsub_despite_faults(harness: BridgeHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka, bridge, topic, push to the function, with faults on both sides: every record arrives."""
    server = PubSubServer()
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", server.host)
    server.create_topic("project", "lines")
    pushed = server.create_push("project", "ingest", "lines", harness.receiver.url)
    server.faults.refuse.extend([grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED])
    server.faults.lose_answers = 1
    harness.receiver.answers.extend([503, 500])
    harness.produce(numbered_records(2000))
    with harness.bridge(DELIVERY_URL="pubsub://project/lines"):
        harness.await_commit(1000, 1000)
        harness.await_arrival(2000)
    wait_until(lambda: server.backlog(pushed) == 0)
    server.close()


def test_bridge_touches_health_file(harness: BridgeHarness, tmp_path: Path) -> None:
    """A health check can use the file's modification time."""
    file = tmp_path / "healthy"
    harness.produce(numbered_records(4))
    with harness.bridge(health_file=file):
        wait_until(file.exists)
