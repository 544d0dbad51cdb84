"""Checks that the tables can hold a batch. Each returns a description of the problem, or None."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from marquee.events.batches import Impression, Record, StreamBatch
from marquee.events.record_syntax import EARLIEST
from marquee.ingest.time_bounds import MAX_AHEAD_OF_CLOCK

_INT4 = 2**31
MAX_OFFSET = 2**53
"""Largest offset that JSON numbers represent exactly; a million records a second would take 285 years."""
MAX_KEY_LENGTH = 250
"""Maximum length of a key. An index entry has at most 2,704 bytes, and a Kafka topic name at most 249 characters."""
# Kafka's zero UUID is what clients get from a broker without topic ids.
_NO_IDS = ("", "A" * 22, "00000000-0000-0000-0000-000000000000")


def find_batch_problem(batch: StreamBatch) -> str | None:
    """Check a batch apart from its records, which must be in order of their offsets."""
    if not batch.records:
        return "it holds no records"
    if not 0 <= batch.partition < _INT4:
        return f"partition {batch.partition} is out of range"
    if not 0 <= batch.records[0].offset <= batch.records[-1].offset <= MAX_OFFSET:
        return f"an offset is not from 0 to {MAX_OFFSET}"
    if "\0" in batch.topic + batch.topic_id or max(len(batch.topic), len(batch.topic_id)) > MAX_KEY_LENGTH:
        return f"its topic or topic id holds NUL, or is longer than {MAX_KEY_LENGTH} characters"
    if batch.topic_id in _NO_IDS:
        return f"its topic id {batch.topic_id!a} stands for a missing one, so that all topics would be the same"
    return None


def find_record_problem(record: Record) -> str | None:
    """Check one record's offset and content."""
    if not 0 <= record.offset <= MAX_OFFSET:
        return f"offset {str(record.offset)[:40]} is not from 0 to {MAX_OFFSET}"
    if (record.text is None) == (record.base64 is None):
        return f"the record at offset {record.offset} needs either text or base64"
    try:
        _ = record.raw
    except ValueError as error:
        return f"the base64 of the record at offset {record.offset} is invalid: {error}"
    return None


def find_impression_problem(impression: Impression) -> str | None:
    """Check one impression."""
    if impression.time.tzinfo is None:
        return "an impression's time has no time zone"
    if not EARLIEST <= impression.time <= datetime.now(UTC) + MAX_AHEAD_OF_CLOCK:
        return f"the impression's time {impression.time.isoformat()} is before 1970 or over a day ahead"
    if b"\\u0000" in msgspec.json.encode(impression):
        return "it holds NUL"
    for name, limit in (("release", _INT4), ("eligible", _INT4), ("policy", _INT4), ("page", 2**15), ("took_ms", 3e38)):
        if not -limit <= getattr(impression, name) < limit:
            return f"{name} {str(getattr(impression, name))[:40]} is out of range"
    if not 0 < min(lengths := (len(impression.id), len(impression.user_id))) <= max(lengths) <= MAX_KEY_LENGTH:
        return f"an id does not have 1 to {MAX_KEY_LENGTH} characters"
    return None
