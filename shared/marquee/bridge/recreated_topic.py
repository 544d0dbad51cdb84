"""Detection of a recreated topic on a broker without topic ids."""

from __future__ import annotations

from collections.abc import Sequence

from marquee.errors import TopicRecreated


def check_not_recreated(topic: str, partition: int, expected: int, offsets: Sequence[int]) -> None:
    """Raise :class:`TopicRecreated` if ``offsets`` begin before ``expected``, or are not ascending."""
    if offsets[0] >= expected and list(offsets) == sorted(offsets):
        return
    raise TopicRecreated(
        f"topic {topic}, partition {partition}: Kafka sent offset {min(offsets)}, but the offsets before "
        f"{max(expected, offsets[0])} were read before. The topic was created again, or lost records. This broker has "
        "no topic ids, so the new records would be taken for those that are written: create the topic under another "
        "name, and set MARQUEE_KAFKA_TOPIC"
    )
