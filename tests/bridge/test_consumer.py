"""The bridge on a real broker: every line at least once, nothing committed before it was accepted."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from tests.bridge.stage import LIMITS, PARTITIONS, Stage, numbered_lines
from tests.servers.pubsub import PubSubServer
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.servers, pytest.mark.long]


def test_every_line_arrives_once_in_order_and_is_committed(stage: Stage) -> None:
    """With nothing going wrong: each offset once, batches bounded, all of it committed at the end."""
    stage.produce(numbered_lines(1000))
    with stage.bridge():
        stage.await_arrival(1000)
    assert all(offsets == Counter(range(500)) for offsets in stage.offsets().values())
    assert stage.committed() == [500, 500]
    records = {partition: found for (_, _, partition), found in stage.receiver.records().items()}
    assert all(len(envelope.data) < 20_000 for envelope in stage.receiver.accepted)
    lines = numbered_lines(1000)
    assert sorted(records[0], key=lambda r: r.offset)[7].raw == lines[14]
    assert abs(records[0][0].timestamp_ms / 1000 - time.time()) < 600


def test_bytes_of_every_kind_arrive(stage: Stage) -> None:
    """Not UTF-8, empty, none at all, NUL, and a line of half a megabyte in a batch of 1000 bytes."""
    values = [b"\xff\xfe\x00", b"", None, b"a\0b", b"x" * 500_000, "größe".encode()]
    stage.produce(values)
    with stage.bridge(replace(LIMITS, max_bytes=1000)):
        stage.await_arrival(6)
    arrived = [record.raw for records in stage.receiver.records().values() for record in records]
    assert sorted(arrived) == sorted(value or b"" for value in values)
    coded = [r for records in stage.receiver.records().values() for r in records if r.base64 is not None]
    assert [record.raw for record in coded] == [b"\xff\xfe\x00"]


def test_nothing_is_committed_while_the_receiver_refuses(stage: Stage) -> None:
    """And all of it once the receiver accepts again: no line was skipped."""
    stage.receiver.always = 503
    stage.produce(numbered_lines(400))
    with stage.bridge(replace(LIMITS, drain_s=0.2)):
        stage.receiver.wait_for(lambda: len(stage.receiver.refused) >= 10)
    assert stage.committed() == [0, 0]
    with stage.bridge():
        stage.receiver.wait_for(lambda: len(stage.receiver.refused) >= 20)
        assert stage.committed() == [0, 0]
        stage.receiver.always = None
        stage.await_commit(200, 200)
    assert stage.all_arrived(400)


def test_lost_answer_is_delivered_again(stage: Stage) -> None:
    """The receiver took it and nobody knows: twice is what it is built for."""
    stage.receiver.lose_answers = 1
    stage.produce(numbered_lines(100))
    with stage.bridge():
        stage.await_arrival(100)
        stage.receiver.wait_for(lambda: len(stage.receiver.texts()) > 100)
    assert stage.committed() == [50, 50]


def test_one_refused_batch_holds_the_commit_of_its_partition(stage: Stage) -> None:
    """Later batches go ahead; the commit waits for the first."""
    stage.produce(numbered_lines(1000))
    stage.receiver.answers.extend([400])  # Terminal: kept, and tried again only after half a minute.
    with stage.bridge(replace(LIMITS, drain_s=0.2, max_in_flight=100, delivery_concurrency=1)):
        stage.await_arrival(900)
    assert sorted(stage.committed()) == [0, 500]
    with stage.bridge():
        stage.await_commit(500, 500)
    assert stage.all_arrived(1000)


def test_receiver_that_does_not_answer_holds_back_the_bridge(stage: Stage) -> None:
    """It reads no further than its window: 20,000 lines wait in Kafka, not in memory."""
    stage.receiver.hold.clear()
    stage.produce(numbered_lines(20_000))
    with stage.bridge(replace(LIMITS, max_in_flight=3, delivery_concurrency=64)):
        stage.receiver.wait_for(lambda: len(stage.receiver.accepted) >= 2 * 3)
        time.sleep(0.5)
        # One read of 100 lines may come on top of a window that was not quite full.
        assert stage.receiver.most_under_way <= PARTITIONS * (3 + 1)
        assert stage.committed() == [0, 0]
        stage.receiver.hold.set()
        stage.await_arrival(20_000)
    assert all(offsets == Counter(range(10_000)) for offsets in stage.offsets().values())
    assert stage.committed() == [10_000, 10_000]


def test_whole_way_through_pubsub(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka, bridge, topic, push to the function: faults on either side, and every line arrives."""
    server = PubSubServer()
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", server.host)
    server.create_topic("project", "lines")
    pushed = server.create_push("project", "ingest", "lines", stage.receiver.url)
    server.faults.refuse.extend([grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED])
    server.faults.lose_answers = 1
    stage.receiver.answers.extend([503, 500])
    stage.produce(numbered_lines(2000))
    with stage.bridge(DELIVERY_URL="pubsub://project/lines"):
        stage.await_commit(1000, 1000)
        stage.await_arrival(2000)
    wait_until(lambda: server.backlog(pushed) == 0)
    server.close()


def test_health_file_is_touched_while_the_bridge_works(stage: Stage, tmp_path: Path) -> None:
    """A health check may go by its time."""
    file = tmp_path / "healthy"
    stage.produce(numbered_lines(4))
    with stage.bridge(HEALTH_FILE=str(file)):
        wait_until(file.exists)
