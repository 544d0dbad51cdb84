"""Parser of JSON records, the second format: one JSON object of the schema a record.

    {"id": "9f2c", "time": "2026-11-30T12:00:02Z", "type": "rating", "user_id": "7", "movie_id": "up+2009", "rating": 5}

Parsing is total, like that of the text. ``event_schema`` is the published schema.
"""

from __future__ import annotations

import re
from datetime import UTC
from inspect import cleandoc
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from marquee.events.event import ID_RULE, Event, Rating, RecommendationRequest
from marquee.events.kinds import Category, MalformedRecord, malformed
from marquee.events.log_scale import FIVE_STARS, LogScale
from marquee.events.record_syntax import EARLIEST, is_storable

SCHEMA_VERSION = 1
SCHEMA_ID = f"urn:marquee:events:{SCHEMA_VERSION}"

EventId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=128,
        description="The sender's id of the event. A second event with the same id is not written.",
        examples=["9f2c6a1e"],
    ),
]


class _Identified(msgspec.Struct):
    id: EventId
    schema: Literal[1] = 1


_CATEGORIES = {
    "id": Category.EVENT_ID,
    "recommendation_id": Category.EVENT_ID,
    "time": Category.TIME,
    "user_id": Category.USER_ID,
    "type": Category.REQUEST,
    "movie_id": Category.MOVIE_ID,
    "movie_ids": Category.MOVIE_ID,
    "minute": Category.MINUTE,
    "rating": Category.RATING,
    "server": Category.RECOMMENDATION,
    "status": Category.RECOMMENDATION,
    "result": Category.RECOMMENDATION,
    "response_ms": Category.RECOMMENDATION,
}
_find_field = re.compile(r"`\$\.(\w+)|required field `(\w+)`").search
_decode_event: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
_decode_identity = msgspec.json.Decoder(_Identified)
_TYPES = [str(kind.__struct_config__.tag) for kind in get_args(Event)]


_PLACEHOLDERS = frozenset(["null", "none", "nil", "undefined", "nan", "[object object]"])


class JsonRecordParser:
    """Parser of JSON records with ratings on ``scale``.

    With ``by_id``, records are identified by their id, and an id that stands for a missing one is malformed: all
    records but the first would count as repeated.
    """

    def __init__(self, scale: LogScale = FIVE_STARS, *, by_id: bool = False) -> None:
        self._scale, self._by_id = scale, by_id

    def parse(self, text: str) -> Event | MalformedRecord:
        """Return the event in a record's text, or the reason why there is none. Never raises."""
        if not text.strip():
            return MalformedRecord(Category.EMPTY, "nothing but blanks")
        try:
            identity = _decode_identity.decode(text)
            if self._by_id and _is_placeholder(identity.id):
                return malformed(Category.EVENT_ID, identity.id, "an id of its own for each event")
            event = _decode_event.decode(text)
            if event.time.tzinfo is not UTC:
                event = msgspec.structs.replace(event, time=event.time.astimezone(UTC))
        except msgspec.ValidationError as error:
            return _diagnose(str(error))
        except (msgspec.DecodeError, ValueError, OverflowError, RecursionError) as error:
            return MalformedRecord(Category.JSON, f"not JSON in UTF-8: {ascii(str(error))[1:-1][:80]}")
        return self._check(event)

    def _check(self, event: Event) -> Event | MalformedRecord:
        if event.time < EARLIEST:
            return MalformedRecord(Category.TIME, f"{event.time:%Y-%m-%dT%H:%M:%SZ} is before 1970-01-01 in UTC")
        if isinstance(event, Rating) and not self._scale.holds(event.rating):
            return malformed(Category.RATING, f"{event.rating:g}", str(self._scale))
        if isinstance(event, RecommendationRequest):
            if not is_storable(event.server + event.result):
                return malformed(Category.ENCODING, event.result, "text without NUL or lone surrogates")
            if event.movie_ids if event.status != 200 else event.result:
                detail = "movie_ids belong to status 200, and a result to any other status"
                return MalformedRecord(Category.RECOMMENDATION, detail)
        return event


def _is_placeholder(event_id: str) -> bool:
    """Return whether an id is a word for nothing, or the UUID of only zeros or ones."""
    digits = event_id.replace("-", "").lower()
    return event_id.lower() in _PLACEHOLDERS or digits in ("0" * 32, "f" * 32)


def read_event_id(raw: bytes) -> str | None:
    """Return the id of a JSON record, None if it has no valid one."""
    try:
        return _decode_identity.decode(raw).id
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def event_schema(ref_template: str = "#/$defs/{name}") -> dict[str, Any]:
    """Return the JSON schema of one event, with the classes of events as its ``$defs``."""
    (schema,), definitions = msgspec.json.schema_components([Event], ref_template=ref_template)
    (identity,) = msgspec.json.schema_components([_Identified])[1].values()
    for definition in definitions.values():
        definition["properties"] = {**identity["properties"], **definition["properties"]}
        definition["required"] = ["id", *definition["required"]]
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_ID, "title": "Event of Marquee"}
    document = {**head, **schema, "$defs": format_descriptions(definitions)}
    return msgspec.json.decode(msgspec.json.encode(document), type=dict[str, Any])


def format_descriptions(definitions: dict[str, Any]) -> dict[str, Any]:
    """Return schemas with descriptions in Markdown instead of the docstrings of their classes."""
    for schema in definitions.values():
        if text := schema.get("description"):
            schema["description"] = cleandoc(text).replace("``", "`")
    return definitions


def _diagnose(message: str) -> MalformedRecord:
    match = _find_field(message)
    field = (match[1] or match[2]) if match else ""
    if "matching regex" in message:
        message = f"`{field}` is not {ID_RULE}"
    elif field == "type":
        message += f": use {', '.join(_TYPES)}"
    elif field == "time":
        message += ", as in 2026-11-30T12:00:02Z"
    elif field == "schema":
        message += f": use {SCHEMA_VERSION}, or leave it out"
    return MalformedRecord(_CATEGORIES.get(field, Category.JSON), ascii(message)[1:-1][:200])
