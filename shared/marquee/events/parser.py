"""The lines of the log, read and written.

    <time>,<userid>,GET /data/m/<movieid>/<minute>.mpg
    <time>,<userid>,GET /rate/<movieid>=<rating>
    <time>,<userid>,recommendation request <host>:<port>, status <code>, result: <text>, <ms> ms
    <time>,<userid>,GET /create_account

Reading is total: every text is an event or :class:`MalformedRecord`. It is anchored at both ends and takes
nothing that the service would not have written, since about one real line in a thousand has a
character too many. Lengths are bounded so that whatever is read can be stored and indexed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo

from marquee.events.kinds import (
    AccountCreated,
    Category,
    Event,
    MalformedRecord,
    Rating,
    RecommendationRequest,
    Watch,
)

# Ends in a plus and, mostly, a year: a random string that took an id's place has none.
_MOVIE_ID = r"[a-z0-9+_.*-]{0,500}\+(?:[0-9]{4})?"
_USER_ID = r"[0-9]{1,20}"
_TIME = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}"
    r"(?::[0-9]{2}(?:\.(?:[0-9]{9}|[0-9]{6}|[0-9]{3}))?)?"
)
_MINUTE = r"0|[1-9][0-9]{0,6}"
_RATING = r"[1-9]|10"
_SERVER = r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9a-fA-F:.]{2,45}\]):[0-9]{1,5}"
_RESULT_AND_MS = r"(.*), (0|[1-9][0-9]{0,8}) ms"

_WATCH, _RATE, _ASK = "GET /data/m/", "GET /rate/", "recommendation request "
_LINE = re.compile(
    rf"({_TIME}),({_USER_ID}),"
    rf"(?:{_WATCH}({_MOVIE_ID})/({_MINUTE})\.mpg|{_RATE}({_MOVIE_ID})=({_RATING})|(GET /create_account)"
    rf"|{_ASK}({_SERVER}), status (0|[1-9][0-9]{{2}}), result: {_RESULT_AND_MS})",
    re.DOTALL,
)
# The number of the last group that took part says which kind of line it is.
_IS_WATCH, _IS_RATING, _IS_ACCOUNT = 4, 6, 7

# The same for many lines at once, one match a line: almost all are watches, and a search over their joined text
# costs a third of as many calls. What it does not match (or whose seconds are 60) is read one by one. Nanoseconds
# are left out of the second group.
_EACH_WATCH = re.compile(
    r"(?m)^(?:([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2})"
    r"((?::[0-5][0-9](?:\.[0-9]{3}(?:[0-9]{3})?)?)?)(?:(?<=\.[0-9]{6})[0-9]{3})?"
    rf",({_USER_ID}),{_WATCH}({_MOVIE_ID})/({_MINUTE})\.mpg|.*)$"
)
WatchFields = tuple[str, str, str, str, str]
"""Minute (local), the rest of the time, user_id, movie_id, the movie's minute; all empty where it is no watch."""
_NO_WATCH: WatchFields = ("", "", "", "", "")

_is_time = re.compile(_TIME).fullmatch
_is_user_id = re.compile(_USER_ID).fullmatch
_is_movie_id = re.compile(_MOVIE_ID).fullmatch
_is_movie_list = re.compile(rf"(?:{_MOVIE_ID}(?:, {_MOVIE_ID})*)?").fullmatch

# What cannot be stored as text: NUL, and halves of surrogate pairs.
_unstorable = re.compile("[\0\ud800-\udfff]").search

# Times are converted through the zone's offset in that minute, and a stream dwells in few minutes.
_MINUTES_REMEMBERED = 4096


def is_user_id(text: str) -> bool:
    """Whether a line could hold this user id: 1 to 20 decimal digits."""
    return _is_user_id(text) is not None


def is_movie_id(text: str) -> bool:
    """Whether a line could hold this movie id: ``[a-z0-9+_.*-]``, ending in ``+`` or ``+`` and a year."""
    return _is_movie_id(text) is not None


class EventParser:
    """Reads lines whose times are in ``zone`` and whose ratings go from 1 to ``rating_max``.

    Where the clocks go back an hour comes twice: it is taken for the first of the two. A time that
    the clocks skip is taken to be as long after the hour before as it says. Nanoseconds are cut to
    microseconds.
    """

    def __init__(self, zone: tzinfo, rating_max: int) -> None:
        self._zone = zone
        self._rating_max = rating_max
        self._always_utc = str(zone) in ("UTC", "Etc/UTC")
        self._offsets: dict[str, timedelta] = {}
        self._match = _LINE.fullmatch

    def parse(self, text: str) -> Event | MalformedRecord:
        """The event that the line tells of, or why it tells of none. Never raises."""
        match = self._match(text)
        if match is None:
            return _diagnosis(text)
        time = self._time(match[1])
        if time is None:
            return MalformedRecord(Category.TIME, f"no such time: {match[1]}")
        kind = match.lastindex
        if kind == _IS_WATCH:
            return Watch(time, match[2], match[3], int(match[4]))
        if kind == _IS_RATING:
            return self._rating(time, match)
        if kind == _IS_ACCOUNT:
            return AccountCreated(time, match[2])
        return _recommendation_request(time, match)

    def watches(self, texts: Sequence[str]) -> list[WatchFields]:
        """The parts of each text that is plainly a watch line; the others are for ``parse``.

        To be completed by ``utc_minute``, which may still say that there is no such time.
        """
        joined = "\n".join(texts)
        if joined.count("\n") != len(texts) - 1:
            return [_NO_WATCH] * len(texts)
        found: list[WatchFields] = _EACH_WATCH.findall(joined)
        return found

    def utc_minute(self, minute: str) -> str | None:
        """``minute`` (local, YYYY-MM-DDTHH:MM) in UTC; None if there is none, or if it is no whole minute there."""
        try:
            time = datetime.fromisoformat(minute + "+00:00")
            offset = timedelta(0) if self._always_utc else self._offset(minute, time)
            return None if offset.seconds % 60 else (time - offset).isoformat()[:16]
        except (ValueError, OverflowError):
            return None

    def _time(self, stamp: str) -> datetime | None:
        try:
            time = datetime.fromisoformat(stamp + "+00:00")
            return time if self._always_utc else time - self._offset(stamp[:16], time)
        except (ValueError, OverflowError):  # The 31st of February; the first hours of the year 1.
            return None

    def _offset(self, minute: str, time: datetime) -> timedelta:
        offset = self._offsets.get(minute)
        if offset is None:
            offset = time.replace(tzinfo=self._zone).utcoffset() or timedelta(0)
            if len(self._offsets) >= _MINUTES_REMEMBERED:
                self._offsets.clear()
            self._offsets[minute] = offset
        return offset

    def _rating(self, time: datetime, match: re.Match[str]) -> Event | MalformedRecord:
        rating = int(match[6])
        if rating > self._rating_max:
            return _malformed(Category.RATING, match[6], f"a whole number from 1 to {self._rating_max}")
        return Rating(time, match[2], match[5], rating)


def _recommendation_request(time: datetime, match: re.Match[str]) -> Event | MalformedRecord:
    user_id, server, status, result = match[2], match[8], int(match[9]), match[10]
    response_ms = int(match[11])
    if status != 200:
        if _unstorable(result):
            return _malformed(Category.ENCODING, result, "text without NUL or lone surrogates")
        return RecommendationRequest(time, user_id, server, status, (), result, response_ms)
    if _is_movie_list(result) is None:
        return _malformed(Category.RECOMMENDATION, result, "movie ids joined with ', '")
    movie_ids = tuple(result.split(", ")) if result else ()
    return RecommendationRequest(time, user_id, server, status, movie_ids, "", response_ms)


def _malformed(category: Category, found: str, valid: str) -> MalformedRecord:
    # ASCII only, and short: it will be stored and shown.
    return MalformedRecord(category, f"{found[:80]!a} is not {valid}")


def _diagnosis(text: str) -> MalformedRecord:
    """The first part of ``text``, from the left, that is not as it should be."""
    if not text.strip():
        return MalformedRecord(Category.EMPTY, "nothing but blanks")
    time, _, rest = text.partition(",")
    user_id, _, request = rest.partition(",")
    if not _is_time(time):
        return _malformed(Category.TIME, time, "YYYY-MM-DDTHH:MM[:SS[.fff[fff[fff]]]]")
    if not _is_user_id(user_id):
        return _malformed(Category.USER_ID, user_id, "1 to 20 digits")
    return _diagnosis_of_request(request)


def _diagnosis_of_request(request: str) -> MalformedRecord:
    movie_valid = "a movie id of [a-z0-9+_.*-] that ends in + or + and a year"
    if request.startswith(_WATCH):
        movie_id, _, minute = request.removeprefix(_WATCH).rpartition("/")
        if not _is_movie_id(movie_id):
            return _malformed(Category.MOVIE_ID, movie_id, movie_valid)
        return _malformed(Category.MINUTE, minute, "<minute>.mpg")
    if request.startswith(_RATE):
        movie_id, _, rating = request.removeprefix(_RATE).rpartition("=")
        if not _is_movie_id(movie_id):
            return _malformed(Category.MOVIE_ID, movie_id, movie_valid)
        return _malformed(Category.RATING, rating, "a rating")
    if request.startswith(_ASK):
        valid = "<host>:<port>, status <code>, result: <text>, <ms> ms"
        return _malformed(Category.RECOMMENDATION, request.removeprefix(_ASK), valid)
    return _malformed(Category.REQUEST, request, "a request of the service")


def format_event(event: Event, zone: tzinfo) -> str:
    """The line that tells of ``event``, as the service writes it: no seconds where they are :00."""
    head = f"{_stamp(event.time, zone)},{event.user_id},"
    match event:
        case Watch():
            return f"{head}{_WATCH}{event.movie_id}/{event.minute}.mpg"
        case Rating():
            return f"{head}{_RATE}{event.movie_id}={event.rating}"
        case AccountCreated():
            return f"{head}GET /create_account"
        case RecommendationRequest():
            result = ", ".join(event.movie_ids) if event.status == 200 else event.result
            answer = f"status {event.status}, result: {result}, {event.response_ms} ms"
            return f"{head}{_ASK}{event.server}, {answer}"


def _stamp(time: datetime, zone: tzinfo) -> str:
    local = time.astimezone(UTC if str(zone) == "UTC" else zone).replace(tzinfo=None)
    if local.microsecond % 1000:
        return local.isoformat(timespec="microseconds")
    if local.microsecond:
        return local.isoformat(timespec="milliseconds")
    return local.isoformat(timespec="seconds" if local.second else "minutes")
