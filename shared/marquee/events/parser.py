"""Parser of the event log's records in both formats, and formatter of their text.

    <time>,<user id>,GET /data/m/<movie id>/<minute>.mpg
    <time>,<user id>,GET /rate/<movie id>=<rating>
    <time>,<user id>,recommendation request <host>:<port>, status <code>, result: <text>, <ms> ms
    <time>,<user id>,GET /create_account

A record that begins with a brace is JSON (:mod:`marquee.events.json_records`). Parsing is total: every text becomes an
event or a :class:`MalformedRecord`. The pattern is anchored at both ends and accepts only what the streaming service
writes, because about one real record in a thousand has a character too many.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TypeAlias

from marquee.events.json_records import JsonRecordParser
from marquee.events.kinds import (
    LOG_KIND_OF_EVENT,
    LOG_KINDS,
    WATCH,
    Category,
    Event,
    LogKind,
    MalformedRecord,
    ParsedFields,
    diagnose_unknown,
    malformed,
)
from marquee.events.log_scale import FIVE_STARS, LogScale
from marquee.events.record_syntax import EARLIEST, TIME, USER_ID, is_time, is_user_id

# One alternative for each kind. An empty group ends it, so that the number of the last group that matched
# identifies the kind.
_RECORD = re.compile(
    rf"({TIME}),({USER_ID}),(?:" + "|".join(rf"{re.escape(kind.prefix)}{kind.pattern}()" for kind in LOG_KINDS) + ")",
    re.DOTALL,
)


def _index_kinds() -> dict[int, tuple[LogKind, slice]]:
    """Return, by the number of each kind's last group, the kind and its slice of ``Match.groups()``."""
    kinds: dict[int, tuple[LogKind, slice]] = {}
    first = 2
    for kind in LOG_KINDS:
        after = first + re.compile(kind.pattern).groups
        kinds[after + 1] = (kind, slice(first, after))
        first = after + 1
    return kinds


_KIND_BY_LAST_GROUP = _index_kinds()

# Fast path for watch records, which are almost all of a log: one search over the joined text of many
# records costs a third of one match for each. Records that this does not match (or whose seconds are 60) are
# parsed one by one. The second group leaves out nanoseconds.
_EACH_WATCH = re.compile(
    r"(?m)^(?:([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2})"
    r"((?::[0-5][0-9](?:\.[0-9]{3}(?:[0-9]{3})?)?)?)(?:(?<=\.[0-9]{6})[0-9]{3})?"
    rf",({USER_ID}),{re.escape(WATCH.prefix)}{WATCH.pattern}|.*)$"
)
WatchFields = tuple[str, str, str, str, str]
"""Local time to the minute, rest of the time, user id, movie id, minute of the movie; all empty if not a watch."""
_NOT_A_WATCH: WatchFields = ("", "", "", "", "")

_EARLIEST_MINUTE = EARLIEST.isoformat()[:16]

# Times are converted with the UTC offset of their minute; the records of a batch share few minutes.
_MAX_CACHED_MINUTES = 4096


class EventParser:
    """Parser of records with ratings on ``scale``, and with times, as text, in ``zone``.

    An hour that occurs twice, when clocks go back, is taken to be the first. A time that clocks skip is
    interpreted with the offset before the change. Nanoseconds are truncated to microseconds.
    """

    def __init__(self, zone: tzinfo, scale: LogScale = FIVE_STARS) -> None:
        self._zone = zone
        self.scale = scale
        self._always_utc = str(zone) in ("UTC", "Etc/UTC")
        self._offsets: dict[str, timedelta] = {}
        self._match = _RECORD.fullmatch
        self._json = JsonRecordParser(scale)

    def parse(self, text: str) -> Event | MalformedRecord:
        """Return the event in a record's text, or the reason why there is none. Never raises."""
        match = self._match(text)
        if match is None:  # No valid text begins with a brace, and every JSON record does.
            return self._json.parse(text) if text.lstrip().startswith("{") else _diagnose(text)
        time = self._parse_time(match[1])
        if time is None:
            return MalformedRecord(Category.TIME, f"no such time: {match[1]}")
        if time < EARLIEST:
            return MalformedRecord(Category.TIME, f"{match[1]} is before 1970-01-01 in UTC")
        kind, groups = _KIND_BY_LAST_GROUP[match.lastindex or 0]
        return kind.parse(ParsedFields(time, match[2], match.groups()[groups], self.scale))

    def match_watches(self, texts: Sequence[str]) -> list[WatchFields]:
        """Return the fields of each text that is a watch record; leave all other texts to ``parse``.

        Complete the times with ``utc_minute``, which can still find that there is no such time.
        """
        joined = "\n".join(texts)
        if joined.count("\n") != len(texts) - 1:
            return [_NOT_A_WATCH] * len(texts)
        fields: list[WatchFields] = _EACH_WATCH.findall(joined)
        return fields

    def utc_minute(self, minute: str) -> str | None:
        """Convert a local ``minute`` (YYYY-MM-DDTHH:MM) to UTC.

        Returns None if there is no such minute, if it is before 1970, or if it is not a whole minute in UTC.
        """
        try:
            time = datetime.fromisoformat(minute + "+00:00")
            offset = timedelta(0) if self._always_utc else self._offset(minute, time)
            utc = (time - offset).isoformat()[:16]
            return None if offset.seconds % 60 or utc < _EARLIEST_MINUTE else utc
        except (ValueError, OverflowError):
            return None

    @property
    def cached_minutes(self) -> int:
        """The number of minutes whose UTC offset is cached."""
        return len(self._offsets)

    def _parse_time(self, text: str) -> datetime | None:
        try:
            time = datetime.fromisoformat(text + "+00:00")
            return time if self._always_utc else time - self._offset(text[:16], time)
        except (ValueError, OverflowError):  # For example 31 February, or the first hours of the year 1.
            return None

    def _offset(self, minute: str, time: datetime) -> timedelta:
        offset = self._offsets.get(minute)
        if offset is None:
            offset = time.replace(tzinfo=self._zone).utcoffset() or timedelta(0)
            if len(self._offsets) >= _MAX_CACHED_MINUTES:
                self._offsets.clear()
            self._offsets[minute] = offset
        return offset


RecordParser: TypeAlias = EventParser | JsonRecordParser


def _diagnose(text: str) -> MalformedRecord:
    """Return the category of the first part of ``text``, from the left, that is not valid."""
    if not text.strip():
        return MalformedRecord(Category.EMPTY, "nothing but blanks")
    time, _, rest = text.partition(",")
    user_id, _, request = rest.partition(",")
    if not is_time(time):
        return malformed(Category.TIME, time, "YYYY-MM-DDTHH:MM[:SS[.fff[fff[fff]]]]")
    if not is_user_id(user_id):
        return malformed(Category.USER_ID, user_id, "1 to 20 digits")
    for kind in LOG_KINDS:
        if request.startswith(kind.prefix):
            return kind.diagnose(request)
    return diagnose_unknown(request)


def format_event(event: Event, zone: tzinfo) -> str:
    """Return the record of ``event`` as the streaming service writes it: without seconds if they are 0."""
    request = LOG_KIND_OF_EVENT[type(event)].format_request(event)
    return f"{_format_time(event.time, zone)},{event.user_id},{request}"


def _format_time(time: datetime, zone: tzinfo) -> str:
    local = time.astimezone(UTC if str(zone) == "UTC" else zone).replace(tzinfo=None)
    if local.microsecond % 1000:
        return local.isoformat(timespec="microseconds")
    if local.microsecond:
        return local.isoformat(timespec="milliseconds")
    return local.isoformat(timespec="seconds" if local.second else "minutes")
