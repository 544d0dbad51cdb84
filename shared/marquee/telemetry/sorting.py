"""The lines of a batch, read and sorted by what they are, as columns for the database.

This runs once a line for every line of the stream: plain loops over plain lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from marquee.stream.batch import Record
from marquee.stream.events import (
    AccountCreated,
    Category,
    Malformed,
    Rating,
    RecommendationRequest,
    Watch,
)
from marquee.stream.lines import LineParser
from marquee.telemetry import columns

Columns = tuple[str, ...]
"""One array literal a column."""

_NOT_UTF8 = Malformed(Category.ENCODING, "not UTF-8")


@dataclass(slots=True)
class SortedLines:
    """The events of some lines by kind, each list beside the list of its lines' offsets."""

    watches: list[Watch] = field(default_factory=list)
    watch_offsets: list[int] = field(default_factory=list)
    ratings: list[Rating] = field(default_factory=list)
    rating_offsets: list[int] = field(default_factory=list)
    requests: list[RecommendationRequest] = field(default_factory=list)
    request_offsets: list[int] = field(default_factory=list)
    accounts: list[AccountCreated] = field(default_factory=list)
    account_offsets: list[int] = field(default_factory=list)
    malformed: list[tuple[Record, str, str]] = field(default_factory=list)
    """Record, category, detail."""
    _watch_times: list[str] = field(default_factory=list)

    def watch_columns(self) -> Columns:
        """time, offset, user_id, movie_id, minute."""
        events = self.watches
        return (
            columns.texts(self.watch_times()),
            columns.numbers(self.watch_offsets),
            columns.texts([event.user_id for event in events]),
            columns.texts([event.movie_id for event in events]),
            columns.numbers([event.minute for event in events]),
        )

    def watch_times(self) -> list[str]:
        """The time of each watch as text, made once for both tables that hold it."""
        if len(self._watch_times) != len(self.watches):
            self._watch_times = [event.time.isoformat() for event in self.watches]
        return self._watch_times

    def rating_columns(self) -> Columns:
        """time, offset, user_id, movie_id, rating."""
        events = self.ratings
        return (
            columns.times([event.time for event in events]),
            columns.numbers(self.rating_offsets),
            columns.texts([event.user_id for event in events]),
            columns.texts([event.movie_id for event in events]),
            columns.numbers([event.rating for event in events]),
        )

    def request_columns(self) -> Columns:
        """time, offset, user_id, server, status, movie_ids joined by commas, result, response_ms."""
        events = self.requests
        return (
            columns.times([event.time for event in events]),
            columns.numbers(self.request_offsets),
            columns.texts([event.user_id for event in events]),
            columns.texts([event.server for event in events]),
            columns.numbers([event.status for event in events]),
            columns.texts([",".join(event.movie_ids) for event in events]),
            columns.texts([event.result for event in events]),
            columns.numbers([event.response_ms for event in events]),
        )

    def account_columns(self) -> Columns:
        """time, offset, user_id."""
        return (
            columns.times([event.time for event in self.accounts]),
            columns.numbers(self.account_offsets),
            columns.texts([event.user_id for event in self.accounts]),
        )

    def quarantine_columns(self) -> Columns:
        """Kafka's time in milliseconds, offset, category, detail, raw bytes."""
        records = [record for record, _, _ in self.malformed]
        return (
            columns.numbers([record.timestamp_ms for record in records]),
            columns.numbers([record.offset for record in records]),
            columns.texts([category for _, category, _ in self.malformed]),
            columns.texts([storable(detail) for _, _, detail in self.malformed]),
            columns.binaries([record.raw for record in records]),
        )

    def viewing_columns(self) -> Columns:
        """user_id, movie_id, started, ended, first_minute, last_minute of each viewing, by its key."""
        viewings = [
            (*key, *viewing) for key, viewing in sorted(fold(self.watches, self.watch_times()).items())
        ]
        users, movies, started, ended, first, last = zip(*viewings, strict=True) if viewings else [()] * 6
        return (
            columns.texts(users),
            columns.texts(movies),
            columns.texts(started),
            columns.texts(ended),
            columns.numbers(first),
            columns.numbers(last),
        )


def sort(records: Sequence[Record], parser: LineParser) -> SortedLines:
    """Read each record's line and put it where it belongs; the order within each kind is kept."""
    lines = SortedLines()
    parse = parser.parse
    watch, watch_offset = lines.watches.append, lines.watch_offsets.append
    for record in records:
        text = record.text
        event = _NOT_UTF8 if text is None else parse(text)
        if isinstance(event, Watch):
            watch(event)
            watch_offset(record.offset)
        elif isinstance(event, Rating):
            lines.ratings.append(event)
            lines.rating_offsets.append(record.offset)
        elif isinstance(event, RecommendationRequest):
            lines.requests.append(event)
            lines.request_offsets.append(record.offset)
        elif isinstance(event, AccountCreated):
            lines.accounts.append(event)
            lines.account_offsets.append(record.offset)
        else:
            lines.malformed.append((record, event.category, event.detail))
    return lines


def fold(watches: Sequence[Watch], times: Sequence[str]) -> dict[tuple[str, str], list[Any]]:
    """[started, ended, first_minute, last_minute] by (user_id, movie_id).

    ``times`` are the watches' times in ISO 8601, all in UTC: such texts sort as the times do, and are
    what the database gets.
    """
    folded: dict[tuple[str, str], list[Any]] = {}
    for watch, time in zip(watches, times, strict=True):
        minute = watch.minute
        viewing = folded.setdefault((watch.user_id, watch.movie_id), [time, time, minute, minute])
        if time < viewing[0]:
            viewing[0] = time
        elif time > viewing[1]:
            viewing[1] = time
        if minute < viewing[2]:
            viewing[2] = minute
        elif minute > viewing[3]:
            viewing[3] = minute
    return folded


def storable(text: str) -> str:
    """``text`` without what PostgreSQL cannot hold: NUL and lone surrogates are written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
