"""Comparison of redelivered records with their rows, for topics without an id of their own.

A redelivered record has the row that it had before. If the row at its offset has another time, the topic was deleted
and created again under its name, and the records would be dropped as written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from marquee.db.written_offsets import WrittenOffsets
from marquee.errors import TopicRecreated
from marquee.events.batches import Record, StreamBatch
from marquee.events.kinds import EVENT_KINDS
from marquee.ingest.row_encoding import ParsedBatch

_OTHER_TIMES = " UNION ALL ".join(
    f'SELECT "offset" FROM {kind.table} WHERE topic_key = %(topic_key)s AND partition = %(partition)s '  # noqa: S608
    'AND "offset" = %(offset)s AND time <> %(time)s'
    for kind in EVENT_KINDS
)


def check_same_records(
    cursor: Any, entry: WrittenOffsets, batch: StreamBatch, parse: Callable[[Sequence[Record]], ParsedBatch]
) -> None:
    """Compare the first and the last known record of a batch that are events with their rows.

    Rows that retention or an erasure has deleted cannot be compared. Raises :class:`TopicRecreated`.
    """
    new = {record.offset for record in entry.new(batch.records)}
    known = [record for record in batch.records if record.offset not in new]
    for records in (known, known[::-1]):
        event = next((found for record in records if (found := _find_event(parse([record])))), None)
        if event is None:
            return
        offset, time = event
        cursor.execute(
            _OTHER_TIMES, {"topic_key": entry.topic_key, "partition": entry.partition, "offset": offset, "time": time}
        )
        if cursor.fetchone():
            raise TopicRecreated(
                f"topic {batch.topic[:250]!a}, partition {batch.partition}: offset {offset} is written with another "
                "time. The topic was created again, and the broker has no topic ids: create it under another name, "
                "and set MARQUEE_KAFKA_TOPIC"
            )


def _find_event(parsed: ParsedBatch) -> tuple[int, str] | None:
    """Return offset and time of the only record; None if it is malformed."""
    for kind in EVENT_KINDS:
        if parsed.count(kind):
            times, offsets = parsed.columns(kind)[:2]
            return int(offsets.strip("{}")), times.strip('{}"')
    return None
