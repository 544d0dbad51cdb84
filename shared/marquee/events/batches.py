"""Contents of Marquee's CloudEvents: batches of records, and of impressions.

The structs are encoded as JSON. Unknown fields are ignored, so a newer sender may add fields.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import datetime

import msgspec
from msgspec.structs import replace

NAMED_TOPIC = "name:"
"""Prefix of a topic id that is made of names, because the broker has no topic ids. A recreated topic has the same."""


def is_named(topic_id: str) -> bool:
    """Return whether a topic id is made of names, and thus the same after the topic is recreated."""
    return topic_id.startswith(NAMED_TOPIC)


class Record(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One record of a partition: its bytes as ``text`` if they are UTF-8, otherwise as ``base64``.

    ``open_envelope`` checks that exactly one of the two is set. The constructor does not, because it runs
    once per record.
    """

    offset: int
    timestamp_ms: int
    """Kafka's timestamp of the record in milliseconds since 1970; -1 if it has none."""
    text: str | None = None
    base64: str | None = None

    @property
    def raw(self) -> bytes:
        """The record's bytes as they are in Kafka. Raises ``ValueError`` if ``base64`` is invalid."""
        return b64decode(self.base64 or "", validate=True) if self.text is None else self.text.encode()


def make_record(offset: int, timestamp_ms: int, value: bytes | None) -> Record:
    """Return the record of any bytes; a record without a value becomes an empty text."""
    try:
        return Record(offset, timestamp_ms, (value or b"").decode())
    except UnicodeDecodeError:
        return Record(offset, timestamp_ms, base64=b64encode(value or b"").decode())


def make_records(offsets: Sequence[int], timestamps_ms: Sequence[int], values: Sequence[bytes | None]) -> list[Record]:
    """Return the records of many values, without a Python call for each if all are UTF-8."""
    try:
        texts = [(value or b"").decode() for value in values]
    except UnicodeDecodeError:
        return list(map(make_record, offsets, timestamps_ms, values))
    return list(map(Record, offsets, timestamps_ms, texts))


class StreamBatch(msgspec.Struct, frozen=True, omit_defaults=True):
    """Records of one partition, in ascending order of their offsets.

    ``topic_id`` is Kafka's id of the topic. A topic that is deleted and created again has a new id, so
    (topic_id, partition, offset) identifies a record permanently.
    """

    topic: str
    topic_id: str
    partition: int
    records: tuple[Record, ...]
    since: int | None = None
    """If set, the batch holds every record of Kafka from this offset to the last one. Missing offsets are transaction
    markers or were removed by compaction. None: nothing is known about missing offsets."""

    @property
    def id(self) -> str:
        """The id ``topic/partition/first-last``."""
        return f"{self.topic}/{self.partition}/{self.records[0].offset}-{self.records[-1].offset}"

    @property
    def halves(self) -> tuple[StreamBatch, StreamBatch]:
        """The same records in two batches; needs at least two records."""
        middle = len(self.records) // 2
        first, second = self.records[:middle], self.records[middle:]
        since = None if self.since is None else first[-1].offset + 1
        return replace(self, records=first), replace(self, records=second, since=since)


class ImpressionMovie(msgspec.Struct, frozen=True):
    """One movie of an impression.

    ``score`` is its ranking score, ``rating`` the predicted rating, and ``propensity`` the probability with
    which it was shown in this position; 0 in an interleaved list. ``rank`` is the position that it would have without
    exploration, in an interleaved list that in its team's ranking; 0 if it was not ranked. ``reason`` is what added
    most to the score: the id of a movie of the user's history, or ``popularity``, ``cohort``, ``exploration``, ``pin``
    or ``quota``.
    """

    movie_id: str
    score: float
    rating: float | None
    propensity: float
    rank: int = 0
    reason: str = ""


class ListInputs(msgspec.Struct, frozen=True, omit_defaults=True):
    """The inputs of a list beside its release and its id, from which it can be made again.

    ``request``: its parameters but the page, as base64 of JSON, which may hold any character; empty if there were none.
    ``shown``: base64 of the checksums of the movies that earlier pages showed. ``record``: whether the artifact's
    record of the user was used. ``rated`` and ``watched``: the later history, newest first, as (movie id, rating or
    last minute, time); ``left_out`` counts older events that were used and are not kept. ``cohorts``: those used, with
    their weights. ``max_age``: the highest age rating that the age of the account allowed. ``explore``: epsilon, slots
    and candidates of the default; ``explore_new``: how many of the candidates are new movies, 0 in impressions of
    earlier programs. ``popular``: the database's popular movies, of a list without a release. ``teams``: of an
    interleaved list, the team of each movie: 0 for control, 1 for the new arm; empty for other lists.
    ``other_record``: whether the record of the other arm's artifact was used in such a list.
    """

    request: str = ""
    shown: str = ""
    record: bool = False
    rated: tuple[tuple[str, int | float, datetime], ...] = ()
    watched: tuple[tuple[str, int, datetime], ...] = ()
    left_out: int = 0
    cohorts: tuple[tuple[str, float], ...] = ()
    max_age: int | None = None
    explore: tuple[float, int, int] = (0.0, 0, 0)
    explore_new: int = 0
    popular: tuple[tuple[str, float], ...] = ()
    teams: str = ""
    other_record: bool = False


class Impression(msgspec.Struct, frozen=True):
    """One list that ``recommend`` served, best movie first.

    ``explored``: the whole list was drawn uniformly. ``eligible``: number of movies that could have been shown.
    ``policy``: number of the arm's policy. ``notes``: those of the answer. ``page``: of the list, from 1. ``took_ms``:
    time that the answer took, in milliseconds. ``inputs``: None in impressions of earlier programs.
    """

    id: str
    time: datetime
    user_id: str
    arm: str
    model_version: str
    release: int
    tier: str
    movies: tuple[ImpressionMovie, ...]
    explored: bool = False
    eligible: int = 0
    policy: int = 0
    notes: tuple[str, ...] = ()
    page: int = 1
    took_ms: float = 0.0
    inputs: ListInputs | None = None


class ImpressionBatch(msgspec.Struct, frozen=True):
    """Impressions from one instance of ``recommend``; ``id`` is unique to the batch."""

    id: str
    impressions: tuple[Impression, ...]
