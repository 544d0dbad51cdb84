"""Event kinds: the one table from which parser, row encoding, INSERT statements, counts and checks derive.

A new kind also needs its class in :mod:`marquee.events.event`, a migration, and records in the tests and the docs;
docs/extending.md has the steps. Every kind is written as JSON; those of ``LOG_KINDS`` also as text of the event log.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from marquee.events.event import AccountCreated as AccountCreated
from marquee.events.event import Click as Click
from marquee.events.event import Event as Event
from marquee.events.event import ImpressionShown as ImpressionShown
from marquee.events.event import Rating as Rating
from marquee.events.event import RecommendationRequest as RecommendationRequest
from marquee.events.event import Watch as Watch
from marquee.events.log_scale import LogScale
from marquee.events.record_syntax import MOVIE_ID, is_movie_id, is_movie_list, is_storable


class Category(StrEnum):
    """The first part of a malformed record, from the left, that is not valid."""

    ENCODING = "encoding"  # Not UTF-8, or a character that cannot be stored.
    EMPTY = "empty"
    TIME = "time"
    USER_ID = "user_id"
    REQUEST = "request"  # None of the requests in EVENT_KINDS.
    MOVIE_ID = "movie_id"
    MINUTE = "minute"
    RATING = "rating"
    RECOMMENDATION = "recommendation"  # Server, status, result or response time of a recommendation request.
    JSON = "json"  # Of a JSON record: not an object, or no such schema version.
    EVENT_ID = "event_id"  # Of a JSON record: its id, or that of a recommendation.


@dataclass(frozen=True, slots=True)
class MalformedRecord:
    """A record that is not an event; ``detail`` says what it holds and what is valid."""

    category: Category
    detail: str


class ParsedFields(NamedTuple):
    """The fields of a record that matched the pattern of a kind."""

    time: datetime
    user_id: str
    groups: tuple[str, ...]
    """The groups of the kind's ``pattern``."""
    scale: LogScale


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a kind's table: the event's attribute of the same name, and its PostgreSQL type."""

    name: str
    sql_type: str
    """text, integer, smallint or text[]."""
    in_steps: bool = False
    """The table holds multiples of the rating scale's step (:mod:`marquee.db.rating_steps`)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class EventKind:
    """Everything that is specific to one kind of event; its JSON form is that of ``event_class``."""

    name: str
    """The kind in views, checks, reports and the ``type`` of JSON records."""
    event_class: type[Event]
    table: str
    """Also the name of the counter in ``written_offsets``."""
    columns: tuple[Column, ...]
    """The columns after those of every table: time, topic_key, partition, offset."""


@dataclass(frozen=True, eq=False, kw_only=True)
class LogKind(EventKind):
    """A kind of event that the event log has as text.

    The request of a record, the text after ``<time>,<user id>,``, is ``prefix`` and then ``pattern``, a
    regular expression. ``parse`` makes the event from the fields that matched; ``diagnose`` explains a request that
    has the prefix and does not match; ``format_request`` writes the request of an event.
    """

    prefix: str
    pattern: str
    parse: Callable[[ParsedFields], Event | MalformedRecord]
    diagnose: Callable[[str], MalformedRecord]
    format_request: Callable[[Any], str]


def malformed(category: Category, text: str, valid: str) -> MalformedRecord:
    """Return a malformed record whose detail quotes ``text``, in ASCII and at most 80 characters."""
    return MalformedRecord(category, f"{text[:80]!a} is not {valid}")


def _parse_watch(fields: ParsedFields) -> Watch:
    movie_id, minute = fields.groups
    return Watch(fields.time, fields.user_id, movie_id, int(minute))


def _diagnose_watch(request: str) -> MalformedRecord:
    movie_id, _, minute = request.removeprefix(WATCH.prefix).rpartition("/")
    return _diagnose_movie_id(movie_id) or malformed(Category.MINUTE, minute, "<minute>.mpg")


def _format_watch(event: Watch) -> str:
    return f"{WATCH.prefix}{event.movie_id}/{event.minute}.mpg"


def _parse_rating(fields: ParsedFields) -> Rating | MalformedRecord:
    movie_id, text = fields.groups
    # On a scale of whole numbers none has a fraction.
    if not fields.scale.holds(rating := float(text)) or ("." in text and fields.scale.step == 1):
        return malformed(Category.RATING, text, str(fields.scale))
    return Rating(fields.time, fields.user_id, movie_id, rating)


def _diagnose_rating(request: str) -> MalformedRecord:
    movie_id, _, rating = request.removeprefix(RATING.prefix).rpartition("=")
    return _diagnose_movie_id(movie_id) or malformed(Category.RATING, rating, "a rating")


def _format_rating(event: Rating) -> str:
    return f"{RATING.prefix}{event.movie_id}={event.rating:g}"


def _diagnose_movie_id(movie_id: str) -> MalformedRecord | None:
    if is_movie_id(movie_id):
        return None
    valid = "a movie id of [a-z0-9+_.*-] that ends in + or + and a year"
    return malformed(Category.MOVIE_ID, movie_id, valid)


def _parse_request(fields: ParsedFields) -> RecommendationRequest | MalformedRecord:
    (server, status, result, response_ms), time, user_id = fields.groups, fields.time, fields.user_id
    if status != "200":
        if not is_storable(result):
            return malformed(Category.ENCODING, result, "text without NUL or lone surrogates")
        return RecommendationRequest(time, user_id, server, int(status), (), result, int(response_ms))
    if not is_movie_list(result):
        return malformed(Category.RECOMMENDATION, result, "movie ids joined with ', '")
    movie_ids = tuple(result.split(", ")) if result else ()
    return RecommendationRequest(time, user_id, server, 200, movie_ids, "", int(response_ms))


def _diagnose_request(request: str) -> MalformedRecord:
    valid = "<host>:<port>, status <code>, result: <text>, <ms> ms"
    return malformed(Category.RECOMMENDATION, request.removeprefix(RECOMMENDATION_REQUEST.prefix), valid)


def _format_request(event: RecommendationRequest) -> str:
    result = ", ".join(event.movie_ids) if event.status == 200 else event.result
    answer = f"status {event.status}, result: {result}, {event.response_ms} ms"
    return f"{RECOMMENDATION_REQUEST.prefix}{event.server}, {answer}"


def _parse_account(fields: ParsedFields) -> AccountCreated:
    return AccountCreated(fields.time, fields.user_id)


def _format_account(_event: AccountCreated) -> str:
    return ACCOUNT.prefix


def diagnose_unknown(request: str) -> MalformedRecord:
    """Return the diagnosis of a request that is of no kind."""
    return malformed(Category.REQUEST, request, "a request of the streaming service")


_SERVER = r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9a-fA-F:.]{2,45}\]):[0-9]{1,5}"

WATCH = LogKind(
    name="watch",
    event_class=Watch,
    prefix="GET /data/m/",
    pattern=rf"({MOVIE_ID})/(0|[1-9][0-9]{{0,6}})\.mpg",
    parse=_parse_watch,
    diagnose=_diagnose_watch,
    format_request=_format_watch,
    table="watches",
    columns=(Column("user_id", "text"), Column("movie_id", "text"), Column("minute", "integer")),
)
RATING = LogKind(
    name="rating",
    event_class=Rating,
    prefix="GET /rate/",
    pattern=rf"({MOVIE_ID})=(10(?:\.0)?|[0-9](?:\.[05])?)",
    parse=_parse_rating,
    diagnose=_diagnose_rating,
    format_request=_format_rating,
    table="ratings",
    columns=(Column("user_id", "text"), Column("movie_id", "text"), Column("rating", "smallint", in_steps=True)),
)
RECOMMENDATION_REQUEST = LogKind(
    name="recommendation_request",
    event_class=RecommendationRequest,
    prefix="recommendation request ",
    pattern=rf"({_SERVER}), status (0|[1-9][0-9]{{2}}), result: (.*), (0|[1-9][0-9]{{0,8}}) ms",
    parse=_parse_request,
    diagnose=_diagnose_request,
    format_request=_format_request,
    table="recommendation_requests",
    columns=(
        Column("user_id", "text"),
        Column("server", "text"),
        Column("status", "integer"),
        Column("movie_ids", "text[]"),
        Column("result", "text"),
        Column("response_ms", "integer"),
    ),
)
ACCOUNT = LogKind(
    name="account",
    event_class=AccountCreated,
    prefix="GET /create_account",
    pattern="",
    parse=_parse_account,
    diagnose=diagnose_unknown,
    format_request=_format_account,
    table="accounts",
    columns=(Column("user_id", "text"),),
)

IMPRESSION_SHOWN = EventKind(
    name="impression_shown",
    event_class=ImpressionShown,
    table="impressions_shown",
    columns=(Column("user_id", "text"), Column("recommendation_id", "text"), Column("movie_ids", "text[]")),
)
CLICK = EventKind(
    name="click",
    event_class=Click,
    table="clicks",
    columns=(Column("user_id", "text"), Column("recommendation_id", "text"), Column("movie_id", "text")),
)

LOG_KINDS: tuple[LogKind, ...] = (WATCH, RATING, RECOMMENDATION_REQUEST, ACCOUNT)
"""The kinds of the event log's text."""
EVENT_KINDS: tuple[EventKind, ...] = (*LOG_KINDS, IMPRESSION_SHOWN, CLICK)
"""All kinds, in the order in which every writer writes their tables."""
KIND_OF_EVENT: dict[type[Event], EventKind] = {kind.event_class: kind for kind in EVENT_KINDS}
LOG_KIND_OF_EVENT: dict[type[Event], LogKind] = {kind.event_class: kind for kind in LOG_KINDS}
QUARANTINE = "quarantine"
DROPPED = "dropped_records"
"""Table of the positions of records whose user is not to be known (:mod:`marquee.db.privacy_marks`)."""
RECORD_TABLES = (*(kind.table for kind in EVENT_KINDS), QUARANTINE, DROPPED)
"""Every record of the log is one row in one of these tables."""
