"""Analytics events, and the batches in which a device reports them.

The device assigns each event an id, so that a batch that arrives twice counts once. ``seq`` numbers the events of a
session consecutively, so that a gap is a lost event. Times are from the device's clock, corrected by the difference
between the sending time in the batch and the time of arrival.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta
from pymongo.errors import BulkWriteError

from marquee.app.documents import Document, Documents
from marquee.errors import DocumentsRefused

T = TypeVar("T")

EVENT_NAMES = (
    "screen_viewed",
    "movies_seen",
    "movie_opened",
    "play_started",
    "play_finished",
    "movie_rated",
    "list_changed",
    "searched",
    "app_installed",
    "app_exited",
    "error",
)
MAX_EVENTS, MAX_BATCH_BYTES = 100, 64_000
MAX_AGE = timedelta(days=30)
"""Age from which events are refused. A device deletes events that wait for longer than a week."""
_DUPLICATE, _INVALID = 11_000, 121

# The UUIDs of only zeros and only ones stand for a missing one, and would make all events the same.
_NO_UUID = "(?!0{8}-(?:0{4}-){3}0{12}|f{8}-(?:f{4}-){3}f{12})"
Uuid = Annotated[str, Meta(pattern=rf"\A{_NO_UUID}[0-9a-f]{{8}}-(?:[0-9a-f]{{4}}-){{3}}[0-9a-f]{{12}}\Z")]
Word = Annotated[str, Meta(pattern=r"\A[a-z0-9_]{1,40}\Z")]
MovieId = Annotated[str, Meta(pattern=r"\A[^,/\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffd]{1,128}\Z")]
Value = Annotated[str, Meta(max_length=200)] | bool | Annotated[int, Meta(ge=-(2**53), le=2**53)] | float
Time = Annotated[datetime, Meta(tz=True)]


class AppEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One event. ``recommendation``, ``movie`` and ``position`` (from 1) identify an entry of a list."""

    id: Uuid
    session: Uuid
    seq: Annotated[int, Meta(ge=1, le=10**9)]
    name: Literal[EVENT_NAMES]  # type: ignore[valid-type]
    at: Time
    screen: Word = "unknown"
    props: Annotated[dict[Word, Value], Meta(max_length=12)] = {}
    recommendation: Uuid | None = None
    movie: MovieId | None = None
    position: Annotated[int, Meta(ge=1, le=1_000)] | None = None


class EventBatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Events that a device sends together. Each is decoded separately, so an invalid one does not affect the others."""

    sent: Time
    app: Annotated[str, Meta(pattern=r"\A(browser|installed|android [0-9.]{1,16})\Z")]
    events: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MAX_EVENTS)]


class RefusedAppEvent(msgspec.Struct, frozen=True):
    """An event that was not stored: its index in the batch, and the reason."""

    index: int
    reason: str


class BatchReceipt(msgspec.Struct, frozen=True):
    """The answer to a batch: number of new events, number of events stored before, and the refused events."""

    kept: int
    known: int
    refused: tuple[RefusedAppEvent, ...] = ()


@cache
def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    """Return a decoder, made with the first batch because its patterns would delay a cold start."""
    return msgspec.json.Decoder(kind)


def decode_batch(body: bytes) -> EventBatch:
    """Decode a batch. Raises ``msgspec.DecodeError``, whose message names the field."""
    batch: EventBatch = _decoder(EventBatch).decode(body)
    return batch


def store_batch(documents: Documents, user_id: str, batch: EventBatch, received: datetime) -> BatchReceipt:
    """Store the events of a batch, each once.

    Raises :class:`DocumentsUnavailable`; the device keeps the batch and sends it again.
    """
    rows: dict[int, Document] = {}
    refused: list[RefusedAppEvent] = []
    skew = received - batch.sent
    for index, raw in enumerate(batch.events):
        try:
            event = _decoder(AppEvent).decode(raw)
            rows[index] = _to_document(event, user_id, batch.app, skew, received)
        except (msgspec.DecodeError, OverflowError, ValueError, RecursionError) as error:
            refused.append(RefusedAppEvent(index, str(error)))
    kept, invalid = _insert(documents, list(rows.values()))
    indexes = list(rows)
    refused += [RefusedAppEvent(indexes[row], "MongoDB's validator of `events` refuses it") for row in invalid]
    return BatchReceipt(kept, len(rows) - kept - len(invalid), tuple(sorted(refused, key=lambda event: event.index)))


def _to_document(event: AppEvent, user_id: str, app: str, skew: timedelta, received: datetime) -> Document:
    at = min(event.at + skew, received)
    if received - at > MAX_AGE:
        raise ValueError(f"the event is older than the {MAX_AGE.days} days that are accepted; delete it")
    document = {
        "_id": event.id,
        "user_id": user_id,
        "session": event.session,
        "seq": event.seq,
        "name": event.name,
        "at": at,
        "received": received,
        "screen": event.screen,
        "app": app,
        "props": event.props,
    }
    where = {"recommendation": event.recommendation, "movie": event.movie, "position": event.position}
    return document | {name: value for name, value in where.items() if value is not None}


def _insert(documents: Documents, rows: list[Document]) -> tuple[int, list[int]]:
    """Return the number of new rows, and the indexes of those that the validator refuses.

    If it refuses all, it is not that of this program: the device keeps the batch.
    """
    if not rows:
        return 0, []
    with documents.collection("events") as events:
        try:
            return len(events.insert_many(rows, ordered=False).inserted_ids), []
        except BulkWriteError as error:
            failed = [e for e in error.details["writeErrors"] if e["code"] != _DUPLICATE]
            others = [e for e in failed if e["code"] != _INVALID]
            if len(failed) == len(rows) or others or error.details.get("writeConcernErrors"):
                raise DocumentsRefused(
                    f"MongoDB refused {len(failed)} of {len(rows)} events of a batch; check the validator of `events`, "
                    "which `marquee db migrate` updates"
                ) from error
            return int(error.details["nInserted"]), [int(e["index"]) for e in failed]
