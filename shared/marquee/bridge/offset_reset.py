"""Where the bridge has to read on, so that a database that was restored gets every line that it lacks.

A backup is older than what the bridge has committed since. What it holds of each partition is in its own ledger, so
nobody has to know when it was made: the bridge reads again from the first offset that the ledger does not know.
What it then delivers twice is written once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from marquee.bridge.kafka_client import TopicIds, consumer
from marquee.config.settings import Settings
from marquee.db.pool import Database
from marquee.db.written_offsets import Ranges, read_ranges
from marquee.errors import GroupInUse, KafkaUnavailable, SettingsError

if TYPE_CHECKING:
    from confluent_kafka import Consumer

DEADLINE_S = 10.0

_WRITTEN = """
SELECT partition, written FROM written_offsets JOIN topics USING (topic_key) WHERE topic_id = %s ORDER BY partition"""


@dataclass(frozen=True, slots=True)
class OffsetReset:
    """One partition. ``gone``: offsets that the ledger lacks and Kafka has no longer."""

    partition: int
    committed: int | None
    target: int
    gone: int

    @property
    def redelivered(self) -> int:
        """How many offsets will be read again."""
        return 0 if self.committed is None else max(0, self.committed - self.target)


def first_unwritten(written: Ranges, oldest: int) -> int:
    """The first offset from ``oldest`` on that was not written; ``written`` is in order."""
    target = oldest
    for first, after in written:
        if first <= target < after:
            target = after
    return target


def missing_after_retention(written: Ranges, oldest: int) -> int:
    """How many offsets lie before ``oldest``, after the first that was written, and were not written."""
    before = [(first, min(after, oldest)) for first, after in written if first < oldest]
    return oldest - before[0][0] - sum(after - first for first, after in before) if before else 0


def reset_offsets(settings: Settings, database: Database, *, apply: bool = True) -> list[OffsetReset]:
    """Set the group's offsets back to what the database lacks; with ``apply=False`` only say what would be done.

    An offset is never moved forward. Raises :class:`KafkaUnavailable`, :class:`GroupInUse` while a bridge runs,
    ``SettingsError``, and the database's errors.
    """
    from confluent_kafka import KafkaException

    topic = settings.kafka_topic
    topic_id = TopicIds(settings).id(topic, timeout_s=DEADLINE_S)
    if topic_id is None:
        raise KafkaUnavailable(f"topic {topic} at {settings.kafka_bootstrap}: not there, or Kafka is away")
    rows = database.read(_WRITTEN, (topic_id,), deadline_ms=int(DEADLINE_S * 1000))
    written = {partition: read_ranges(ranges) for partition, ranges in rows}
    client = consumer(settings)
    try:
        return _rewind(client, topic, written, apply)
    except KafkaException as error:
        raise _translated(error, settings) from error
    finally:
        client.close()


def _rewind(client: Consumer, topic: str, written: Mapping[int, Ranges], apply: bool) -> list[OffsetReset]:
    from confluent_kafka import KafkaException, TopicPartition

    partitions = sorted(client.list_topics(topic, timeout=DEADLINE_S).topics[topic].partitions)
    places = client.committed([TopicPartition(topic, number) for number in partitions], timeout=DEADLINE_S)
    found = []
    for place in places:
        ranges = written.get(place.partition, ())
        oldest, _ = client.get_watermark_offsets(place, timeout=DEADLINE_S)
        committed = place.offset if place.offset >= 0 else None
        target = first_unwritten(ranges, oldest)
        if committed is not None:
            target = min(target, committed)
        found.append(OffsetReset(place.partition, committed, target, missing_after_retention(ranges, oldest)))
    if apply:
        offsets = [TopicPartition(topic, each.partition, each.target) for each in found]
        for done in client.commit(offsets=offsets, asynchronous=False):
            if done.error is not None:
                raise KafkaException(done.error)
    return found


def _translated(error: Exception, settings: Settings) -> Exception:
    from confluent_kafka import KafkaError

    code = error.args[0].code() if error.args and isinstance(error.args[0], KafkaError) else None
    # Kafka takes offsets from outside a group only while nobody is in it.
    busy = (KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS)
    if code in busy:
        return GroupInUse(
            f"a bridge of the group {settings.kafka_group} is running: stop every one of them first, wait until its "
            "session has ended (45 s at the most), and try again"
        )
    if code in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED):
        return SettingsError(
            f"Kafka does not let {settings.kafka_username or 'us'} do that: {error.args[0].str()}"
        )
    return KafkaUnavailable(f"Kafka at {settings.kafka_bootstrap}: {error}")
