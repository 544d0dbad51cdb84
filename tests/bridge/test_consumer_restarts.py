"""Bridges and brokers that are killed, stopped, late, or joined by others: no line is lost."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from tests.bridge.stage import LIMITS, PARTITIONS, Stage, numbered_lines, stage_of_its_own
from tests.servers.receiver import Receiver
from tests.support.waiting import wait_until

from marquee.local.embedded_kafka import EmbeddedKafka
from marquee.local.process import free_port

pytestmark = [pytest.mark.servers, pytest.mark.long]


def test_killed_bridge_loses_nothing(stage: Stage, tmp_path: Path) -> None:
    """SIGKILL in the middle, as a process: after a new start every offset was accepted at least once,
    and what was committed when it died had been accepted."""
    stage.produce(numbered_lines(6000))
    stage.receiver.hold_after = 10
    process = stage.process(tmp_path)
    process.start()
    wait_until(lambda: sum(stage.committed()) > 0)
    process.kill()
    process.wait(30)
    stage.receiver.hold.set()
    committed, accepted = stage.committed(), stage.offsets()
    assert 0 < sum(committed) <= 1000
    for partition, offset in enumerate(committed):
        assert set(range(offset)) <= set(accepted[partition])
    redelivered = stage.process(tmp_path, "again")
    redelivered.start()
    stage.await_commit(3000, 3000)
    redelivered.stop(30)
    assert redelivered.returncode == 0
    assert stage.all_arrived(6000)


def test_sigterm_finishes_what_is_under_way(stage: Stage, tmp_path: Path) -> None:
    """Exit code 0, and the commit says exactly what was accepted: the next bridge repeats nothing."""
    stage.receiver.delay_s = 0.02
    stage.produce(numbered_lines(6000))
    process = stage.process(tmp_path)
    process.start()
    stage.receiver.wait_for(lambda: len(stage.receiver.accepted) >= 10)
    process.stop(30)
    assert process.returncode == 0
    accepted = stage.offsets()
    assert all(set(accepted[p]) == set(range(offset)) for p, offset in enumerate(stage.committed()))
    stage.receiver.delay_s = 0.0
    with stage.bridge():
        stage.await_arrival(6000)
    assert all(offsets == Counter(range(3000)) for offsets in stage.offsets().values())


def test_two_bridges_share_the_partitions(stage: Stage) -> None:
    """A second one joins while the first is busy, and leaves again: both rebalances lose nothing."""
    stage.receiver.delay_s = 0.01
    stage.produce(numbered_lines(4000))
    with stage.bridge():
        stage.receiver.wait_for(lambda: len(stage.receiver.accepted) >= 4)
        with stage.bridge():
            time.sleep(3)  # Long enough to be let in.
            stage.produce(numbered_lines(2000))
            stage.await_arrival(6000)
        stage.produce(numbered_lines(2000))
        stage.await_commit(4000, 4000)
    assert stage.all_arrived(8000)


def test_paused_partition_that_comes_back_is_read(stage: Stage) -> None:
    """The receiver hangs, so the partitions are paused; they go to another bridge and come back: the pause
    was the former owner's, and does not outlive its ownership."""
    stage.receiver.always = 503
    limits = replace(LIMITS, max_in_flight=2, drain_s=0.1)
    stage.produce(numbered_lines(20_000))
    with stage.bridge(limits):
        stage.receiver.wait_for(lambda: len(stage.receiver.refused) >= 20)
        time.sleep(1)  # Longer than a full partition goes without being paused.
        with stage.bridge(limits):
            time.sleep(3)  # Long enough to be let in, and to pause what it was given.
        stage.receiver.always = None
        stage.await_commit(10_000, 10_000)
    assert stage.all_arrived(20_000)


def test_bridge_may_start_before_everything_else(stage: Stage, tmp_path: Path) -> None:
    """No broker, then no topic, then no receiver: it waits for each."""
    port = free_port()
    stage.receiver.close()
    with EmbeddedKafka(tmp_path, durable=False, port=port) as kafka:
        late = Stage(kafka, stage.receiver)
        kafka.stop()
        with late.bridge():
            time.sleep(0.3)
            kafka.start()
            time.sleep(0.3)
            kafka.create_topic(late.topic, PARTITIONS)
            late.produce(numbered_lines(100))
            time.sleep(0.3)
            late.receiver = Receiver(stage.receiver.port)
            late.await_arrival(100)
        late.receiver.close()


def test_broker_that_is_killed_comes_back(stage: Stage, tmp_path: Path) -> None:
    """SIGKILL of a durable broker and its storage in the middle: the bridge goes on by itself."""
    with stage_of_its_own(tmp_path, stage.receiver, durable=True) as durable:
        durable.produce(numbered_lines(2000))
        with durable.bridge():
            stage.receiver.wait_for(lambda: len(stage.receiver.accepted) >= 2)
            durable.kafka.kill()
            durable.kafka.start()
            durable.produce(numbered_lines(1000))
            durable.await_commit(1500, 1500)
        assert durable.all_arrived(3000)
