"""Reset of the bridge's offsets after the database was restored from a backup.

A backup is older than the bridge's commits. Its own ledger of written offsets says what it holds of each
partition, so its age does not matter: the bridge reads again from the first offset that is not in the
ledger. Records that it delivers again are written once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from marquee.bridge.kafka_client import TopicIds, create_consumer
from marquee.config.kafka_options import consumer_group
from marquee.config.settings import Settings
from marquee.db.pool import Database
from marquee.db.written_offsets import OffsetRanges, read_ranges
from marquee.errors import GroupInUse, KafkaUnavailable, SettingsError

if TYPE_CHECKING:
    from confluent_kafka import Consumer

DEADLINE_S = 10.0

_WRITTEN = """
SELECT partition, written FROM written_offsets JOIN topics USING (topic_key) WHERE topic_id = %s ORDER BY partition"""


@dataclass(frozen=True, slots=True)
class OffsetReset:
    """The reset of one partition; ``lost`` offsets are neither in the ledger nor in Kafka any more."""

    partition: int
    committed: int | None
    target: int
    lost: int

    @property
    def redelivered(self) -> int:
        """The number of offsets that will be read again."""
        return 0 if self.committed is None else max(0, self.committed - self.target)


def first_unwritten(written: OffsetRanges, oldest: int) -> int:
    """Return the first offset from ``oldest`` on that was not written."""
    target = oldest
    for first, after in written:
        if first <= target < after:
            target = after
    return target


def missing_after_retention(written: OffsetRanges, oldest: int) -> int:
    """Return the number of unwritten offsets between the first written one and ``oldest``."""
    before = [(first, min(after, oldest)) for first, after in written if first < oldest]
    return oldest - before[0][0] - sum(after - first for first, after in before) if before else 0


def reset_offsets(settings: Settings, database: Database, *, apply: bool = True) -> list[OffsetReset]:
    """Reset the group's offsets to the first missing record; with ``apply=False``, only return the plan.

    An offset never moves forward. Raises :class:`KafkaUnavailable`, :class:`GroupInUse` while a bridge runs,
    ``SettingsError``, and the database's errors.
    """
    from confluent_kafka import KafkaException

    topic = settings.kafka_topic
    topic_id = TopicIds(settings).id(topic, timeout_s=DEADLINE_S)
    if topic_id is None:
        raise KafkaUnavailable(
            f"topic {topic} at {settings.kafka_bootstrap}: it does not exist, or Kafka is unavailable"
        )
    rows = database.read(_WRITTEN, (topic_id,), deadline_ms=int(DEADLINE_S * 1000))
    written = {partition: read_ranges(ranges) for partition, ranges in rows}
    client = create_consumer(settings)
    try:
        return _reset(client, topic, written, apply)
    except KafkaException as error:
        raise _translate(error, settings) from error
    finally:
        client.close()


def _reset(client: Consumer, topic: str, written: Mapping[int, OffsetRanges], apply: bool) -> list[OffsetReset]:
    from confluent_kafka import KafkaException, TopicPartition

    partitions = sorted(client.list_topics(topic, timeout=DEADLINE_S).topics[topic].partitions)
    committed_offsets = client.committed([TopicPartition(topic, number) for number in partitions], timeout=DEADLINE_S)
    resets = []
    for position in committed_offsets:
        ranges = written.get(position.partition, ())
        oldest, _ = client.get_watermark_offsets(position, timeout=DEADLINE_S)
        committed = position.offset if position.offset >= 0 else None
        target = first_unwritten(ranges, oldest)
        if committed is not None:
            target = min(target, committed)
        lost = missing_after_retention(ranges, oldest)
        resets.append(OffsetReset(position.partition, committed, target, lost))
    if apply:
        offsets = [TopicPartition(topic, reset.partition, reset.target) for reset in resets]
        for position in client.commit(offsets=offsets, asynchronous=False):
            if position.error is not None:
                raise KafkaException(position.error)
    return resets


def _translate(error: Exception, settings: Settings) -> Exception:
    from confluent_kafka import KafkaError

    code = error.args[0].code() if error.args and isinstance(error.args[0], KafkaError) else None
    # Kafka accepts offsets from outside a group only while the group is empty.
    busy = (KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS)
    if code in busy:
        return GroupInUse(
            f"a bridge of the group {consumer_group(settings)} is running: stop all of its bridges, wait until their "
            "sessions have ended (up to 45 s), and try again"
        )
    if code in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED):
        user = dict(settings.kafka_options).get("sasl.username", "this client")
        return SettingsError(f"Kafka does not authorize {user}: {error.args[0].str()}")
    return KafkaUnavailable(f"Kafka at {settings.kafka_bootstrap}: {error}")
