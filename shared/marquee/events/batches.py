"""What travels in our CloudEvents: lines of the log, and lists that were served.

The structs are encoded as JSON. Unknown fields are ignored, so that a newer sender may add some.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import datetime

import msgspec
from msgspec.structs import replace


class Record(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One record of a partition: its bytes as ``text`` if they are UTF-8, else as ``base64``.

    That it has exactly one of them is checked when an envelope is opened: this is made once a line.
    """

    offset: int
    timestamp_ms: int
    """Kafka's own time of the record, milliseconds since 1970; -1 where it has none."""
    text: str | None = None
    base64: str | None = None

    @property
    def raw(self) -> bytes:
        """The record's bytes as they were in Kafka; raises ``ValueError`` if ``base64`` is not base64."""
        return b64decode(self.base64 or "", validate=True) if self.text is None else self.text.encode()


def make_record(offset: int, timestamp_ms: int, value: bytes | None) -> Record:
    """The record of these bytes, whatever they are; a record without a value is an empty line."""
    try:
        return Record(offset, timestamp_ms, (value or b"").decode())
    except UnicodeDecodeError:
        return Record(offset, timestamp_ms, base64=b64encode(value or b"").decode())


def make_records(
    offsets: Sequence[int], timestamps_ms: Sequence[int], values: Sequence[bytes | None]
) -> list[Record]:
    """The records of many values; nearly all are UTF-8, and then it takes no call of ours for each."""
    try:
        texts = [(value or b"").decode() for value in values]
    except UnicodeDecodeError:
        return list(map(make_record, offsets, timestamps_ms, values))
    return list(map(Record, offsets, timestamps_ms, texts))


class StreamBatch(msgspec.Struct, frozen=True, omit_defaults=True):
    """Some records of one partition, in the order of their offsets.

    ``stream`` is the topic's id in Kafka: a topic that was deleted and made anew has another one,
    and so (stream, partition, offset) names a line for good.
    """

    topic: str
    topic_id: str
    partition: int
    records: tuple[Record, ...]
    since: int | None = None
    """The sender's word that these are all the lines that Kafka holds from this offset to the last one: what is missing
    among them is a transaction's marker, or was compacted away. None: nothing is said of offsets that are missing."""

    @property
    def id(self) -> str:
        """topic/partition/first-last."""
        return f"{self.topic}/{self.partition}/{self.records[0].offset}-{self.records[-1].offset}"

    @property
    def halves(self) -> tuple[StreamBatch, StreamBatch]:
        """The same lines in two batches; there have to be two at least."""
        middle = len(self.records) // 2
        first, second = self.records[:middle], self.records[middle:]
        since = None if self.since is None else first[-1].offset + 1
        return replace(self, records=first), replace(self, records=second, since=since)


class ImpressionMovie(msgspec.Struct, frozen=True):
    """One movie of a list: what it was ranked by, what the user was predicted to rate it, and the
    probability with which it was shown in this place.
    """

    movie_id: str
    score: float
    rating: float | None
    propensity: float


class Impression(msgspec.Struct, frozen=True):
    """One list that was served, best movie first."""

    id: str
    time: datetime
    user_id: str
    arm: str
    model_version: str
    release: int
    tier: str
    movies: tuple[ImpressionMovie, ...]


class ImpressionBatch(msgspec.Struct, frozen=True):
    """Impressions of one instance of ``recommend``; ``id`` is unique to the batch."""

    id: str
    impressions: tuple[Impression, ...]
