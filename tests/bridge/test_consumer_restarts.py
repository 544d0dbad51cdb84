"""Tests of bridges and brokers that are killed, stopped, late or joined by others: no record is lost."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from tests.bridge.bridge_harness import LIMITS, PARTITIONS, BridgeHarness, numbered_records, separate_harness
from tests.servers.receiver import Receiver
from tests.support.waiting import wait_until

from marquee.local.embedded_kafka import EmbeddedKafka
from marquee.local.process import free_port

pytestmark = [pytest.mark.servers, pytest.mark.long]


def test_bridge_killed_loses_nothing(harness: BridgeHarness, tmp_path: Path) -> None:
    """After SIGKILL, every commit was accepted, and a new bridge delivers every offset at least once."""
    harness.produce(numbered_records(6000))
    harness.receiver.hold_after = 10
    process = harness.process(tmp_path)
    process.start()
    wait_until(lambda: sum(harness.committed()) > 0)
    process.kill()
    process.wait(30)
    harness.receiver.hold.set()
    committed, accepted = harness.committed(), harness.offsets()
    assert 0 < sum(committed) <= 1000
    for partition, offset in enumerate(committed):
        assert set(range(offset)) <= set(accepted[partition])
    restarted = harness.process(tmp_path, "restarted")
    restarted.start()
    harness.await_commit(3000, 3000)
    restarted.stop(30)
    assert restarted.returncode == 0
    assert harness.all_arrived(6000)


def test_bridge_sigterm_finishes_deliveries_and_commits(harness: BridgeHarness, tmp_path: Path) -> None:
    """The exit code is 0, and the commit equals what was accepted, so the next bridge repeats nothing."""
    harness.receiver.delay_s = 0.02
    harness.produce(numbered_records(6000))
    process = harness.process(tmp_path)
    process.start()
    harness.receiver.wait_for(lambda: len(harness.receiver.accepted) >= 10)
    process.stop(30)
    assert process.returncode == 0
    accepted = harness.offsets()
    assert all(set(accepted[p]) == set(range(offset)) for p, offset in enumerate(harness.committed()))
    harness.receiver.delay_s = 0.0
    with harness.bridge():
        harness.await_arrival(6000)
    assert all(offsets == Counter(range(3000)) for offsets in harness.offsets().values())


def test_bridge_sigterm_receiver_that_never_answers_ends_within_the_grace(
    harness: BridgeHarness, tmp_path: Path
) -> None:
    """The process ends by itself before Compose kills it, and what was not acknowledged is not committed."""
    harness.receiver.hold.clear()
    harness.produce(numbered_records(2000))
    process = harness.process(tmp_path)
    process.start()
    harness.receiver.wait_for(lambda: len(harness.receiver.accepted) >= 4)
    process.stop(20)
    assert process.returncode == 0
    assert harness.committed() == [0, 0]


def test_bridge_joined_by_another_loses_nothing(harness: BridgeHarness) -> None:
    """A second bridge joins and leaves while the first is busy: two rebalances."""
    harness.receiver.delay_s = 0.01
    harness.produce(numbered_records(4000))
    with harness.bridge():
        harness.receiver.wait_for(lambda: len(harness.receiver.accepted) >= 4)
        with harness.bridge():
            time.sleep(3)  # Long enough to join the group.
            harness.produce(numbered_records(2000))
            harness.await_arrival(6000)
        harness.produce(numbered_records(2000))
        harness.await_commit(4000, 4000)
    assert harness.all_arrived(8000)


def test_bridge_paused_partition_is_read_after_reassignment(harness: BridgeHarness) -> None:
    """A pause ends with the ownership of the partition."""
    harness.receiver.always = 503
    limits = replace(LIMITS, max_in_flight=2, drain_s=0.1)
    harness.produce(numbered_records(20_000))
    with harness.bridge(limits):
        harness.receiver.wait_for(lambda: len(harness.receiver.refused) >= 20)
        time.sleep(1)  # A full partition is paused after half a second.
        with harness.bridge(limits):
            time.sleep(3)  # Long enough to join, and to pause its partitions.
        harness.receiver.always = None
        harness.await_commit(10_000, 10_000)
    assert harness.all_arrived(20_000)


def test_bridge_waits_for_broker_topic_and_receiver(harness: BridgeHarness, tmp_path: Path) -> None:
    """The bridge starts first and waits for each."""
    port = free_port()
    harness.receiver.close()
    with EmbeddedKafka(tmp_path, durable=False, port=port) as kafka:
        late = BridgeHarness(kafka, harness.receiver)
        kafka.stop()
        with late.bridge():
            time.sleep(0.3)
            kafka.start()
            time.sleep(0.3)
            kafka.create_topic(late.topic, PARTITIONS)
            late.produce(numbered_records(100))
            time.sleep(0.3)
            late.receiver = Receiver(harness.receiver.port)
            late.await_arrival(100)
        late.receiver.close()


def test_bridge_continues_after_broker_kill(harness: BridgeHarness, tmp_path: Path) -> None:
    """SIGKILL of a durable broker and its storage: the bridge continues by itself."""
    with separate_harness(tmp_path, harness.receiver, durable=True) as durable:
        durable.produce(numbered_records(2000))
        with durable.bridge():
            harness.receiver.wait_for(lambda: len(harness.receiver.accepted) >= 2)
            durable.kafka.kill()
            durable.kafka.start()
            durable.produce(numbered_records(1000))
            durable.await_commit(1500, 1500)
        assert durable.all_arrived(3000)
