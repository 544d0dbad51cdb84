"""Salvage of the valid elements of a delivery that also has invalid ones.

An invalid record or impression must not block its batch. The valid ones are written, and the invalid ones are stored as
separate rejected events.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from marquee.errors import InvalidBatch
from marquee.events.batches import Impression, ImpressionBatch, Record, StreamBatch
from marquee.events.envelopes import STREAM_BATCH, Envelope
from marquee.ingest.storable import find_batch_problem, find_impression_problem, find_record_problem

B = TypeVar("B")

MAX_REFUSED_BYTES = 60_000
"""Maximum size of a rejected event of refused elements, below the size at which stored bodies are truncated."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Elements of a batch that cannot be stored: an event with only them, and the reason of the first."""

    envelope: Envelope
    reason: str


@dataclass(frozen=True, slots=True)
class Salvage:
    """An envelope, divided: the batch of its valid elements, and events of the invalid ones."""

    batch: StreamBatch | ImpressionBatch
    refused: tuple[Refused, ...]


class _RawStreamBatch(msgspec.Struct):
    topic: str
    topic_id: str
    partition: int
    records: list[msgspec.Raw]
    since: Any = None


class _RawImpressionBatch(msgspec.Struct):
    id: str
    impressions: list[msgspec.Raw]


class _LooseRecord(msgspec.Struct):
    """A record with a timestamp of any value, because it is metadata."""

    offset: int
    timestamp_ms: Any = None
    text: str | None = None
    base64: str | None = None


def salvage(envelope: Envelope) -> Salvage:
    """Divide an envelope into valid and invalid elements. Raises :class:`InvalidBatch` if none is valid."""
    try:
        if envelope.type == STREAM_BATCH:
            return _salvage_records(_decode(envelope.data, _RawStreamBatch, "records"), envelope)
        return _salvage_impressions(_decode(envelope.data, _RawImpressionBatch, "impressions"), envelope)
    except (msgspec.MsgspecError, ValueError, TypeError, LookupError, RecursionError) as error:
        raise InvalidBatch(f"event {envelope.id!a} has no valid element: {error}", envelope.data) from error


def _decode(data: bytes, kind: type[B], name: str) -> B:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        # For msgspec, unlike json, a lone surrogate in one element invalidates the whole document.
        document = json.loads(data)
        elements = [msgspec.Raw(json.dumps(element).encode()) for element in document[name]]
        return msgspec.convert(document | {name: elements}, kind)


def _salvage_records(raw: _RawStreamBatch, envelope: Envelope) -> Salvage:
    valid: dict[int, Record] = {}
    refused: list[tuple[msgspec.Raw, str]] = []
    for element in raw.records:
        try:
            record = _decode_record(element)
            if valid.setdefault(record.offset, record).raw != record.raw:
                raise ValueError(f"offset {record.offset} occurs twice, with different content")
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            refused.append((element, str(error)))
    records = tuple(valid[offset] for offset in sorted(valid))
    # Refused records are replayed later, so the batch does not account for their offsets.
    since = raw.since if records and not refused and _is_since(raw.since, records[0].offset) else None
    batch = StreamBatch(raw.topic, raw.topic_id, raw.partition, records, since)
    if problem := find_batch_problem(batch):
        raise ValueError(problem)
    head = {"topic": raw.topic, "topic_id": raw.topic_id, "partition": raw.partition}
    return Salvage(batch, tuple(_refused_events(envelope, head, "records", refused)))


def _decode_record(element: msgspec.Raw) -> Record:
    loose = msgspec.json.decode(element, type=_LooseRecord)
    known = isinstance(loose.timestamp_ms, int) and not isinstance(loose.timestamp_ms, bool)
    timestamp_ms = loose.timestamp_ms if known and abs(loose.timestamp_ms) < 2**63 else -1
    record = Record(loose.offset, timestamp_ms, loose.text, loose.base64)
    if problem := find_record_problem(record):
        raise ValueError(problem)
    return record


def _is_since(since: Any, first: int) -> bool:
    return isinstance(since, int) and not isinstance(since, bool) and 0 <= since <= first


def _salvage_impressions(raw: _RawImpressionBatch, envelope: Envelope) -> Salvage:
    valid: list[Impression] = []
    refused: list[tuple[msgspec.Raw, str]] = []
    for element in raw.impressions:
        try:
            impression = msgspec.json.decode(element, type=Impression)
            if problem := find_impression_problem(impression):
                raise ValueError(problem)
            valid.append(impression)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            refused.append((element, str(error)))
    if not valid:
        raise ValueError(refused[0][1] if refused else "it holds no impressions")
    events = tuple(_refused_events(envelope, {"id": raw.id}, "impressions", refused))
    return Salvage(ImpressionBatch(raw.id, tuple(valid)), events)


def _refused_events(
    envelope: Envelope, head: dict[str, object], name: str, refused: Sequence[tuple[msgspec.Raw, str]]
) -> Iterator[Refused]:
    group: list[msgspec.Raw] = []
    size, reason = 0, ""
    for element, problem in refused:
        length = len(bytes(element))
        if group and size + length > MAX_REFUSED_BYTES:
            yield Refused(_with_elements(envelope, head, name, group), reason)
            group, size = [], 0
        if not group:
            reason = problem
        group.append(element)
        size += length
    if group:
        yield Refused(_with_elements(envelope, head, name, group), reason)


def _with_elements(envelope: Envelope, head: dict[str, object], name: str, elements: list[msgspec.Raw]) -> Envelope:
    data = msgspec.json.encode(head | {name: elements})
    return Envelope(envelope.id, envelope.type, envelope.source, envelope.time, data)
