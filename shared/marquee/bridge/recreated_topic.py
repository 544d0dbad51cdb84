"""Detection of a recreated topic on a broker without topic ids."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from marquee.errors import TopicRecreated

if TYPE_CHECKING:
    from confluent_kafka import Consumer, TopicPartition

log = logging.getLogger(__name__)

READ_TIMEOUT_S = 5.0

_ADVICE = (
    "The topic was created again, or lost records. This broker has no topic ids, so the new records would be taken for "
    "those that are written: create the topic under another name, and set MARQUEE_KAFKA_TOPIC"
)


def check_not_recreated(topic: str, partition: int, expected: int, offsets: Sequence[int]) -> None:
    """Raise :class:`TopicRecreated` if ``offsets`` begin before ``expected``, or are not ascending."""
    if offsets[0] >= expected and list(offsets) == sorted(offsets):
        return
    raise TopicRecreated(
        f"topic {topic}, partition {partition}: Kafka sent offset {min(offsets)}, but the offsets before "
        f"{max(expected, offsets[0])} were read before. {_ADVICE}"
    )


def check_committed_record(client: Consumer, committed: TopicPartition, time_ms: str) -> None:
    """Compare the last record before a commit with the time that the commit remembers; close the client.

    A topic that was recreated while no bridge ran, and has grown beyond the commit, has another record there. What
    retention or compaction has removed cannot be compared. Raises :class:`TopicRecreated`.
    """
    partition = f"topic {committed.topic}, partition {committed.partition}"
    try:
        found = _read_record(client, committed)
    finally:
        client.close()
    if found is None or found[0] >= committed.offset:
        log.warning("%s: the record before the commit %d is gone", partition, committed.offset)
        return
    offset, found_ms = found
    if offset < committed.offset - 1:  # The client starts over from the oldest record.
        raise TopicRecreated(
            f"{partition}: Kafka does not hold offset {committed.offset - 1}, but offset {offset}. {_ADVICE}"
        )
    if str(found_ms) != time_ms:
        raise TopicRecreated(
            f"{partition}: the record at offset {offset} is of {found_ms} ms since 1970, and the one that was read "
            f"before was of {time_ms}. {_ADVICE}"
        )


def _read_record(client: Consumer, committed: TopicPartition) -> tuple[int, int] | None:
    """Return offset and timestamp of the first record from the last one before a commit on; None if none arrives.

    The end that a broker reports is not used: that of an embedded one is not reliable.
    """
    from confluent_kafka import TopicPartition

    client.assign([TopicPartition(committed.topic, committed.partition, committed.offset - 1)])
    deadline = time.monotonic() + READ_TIMEOUT_S
    while time.monotonic() < deadline:
        message = client.poll(0.5)
        if message is not None and message.error() is None:
            return int(message.offset() or 0), int(message.timestamp()[1])
    return None
