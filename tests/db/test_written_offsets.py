"""What has been written is known by its place alone, and watch sessions are folded once, early or late."""

from __future__ import annotations

from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.records import MOVIE, TOPIC_ID, batch, rate, rows, watch

from marquee.cli.main import main
from marquee.db import record_counts
from marquee.db.pool import Database
from marquee.db.written_offsets import WrittenOffsets, count_offsets, to_multirange, union
from marquee.events.batches import StreamBatch, make_record
from marquee.events.kinds import Event, MalformedRecord
from marquee.events.parser import EventParser
from marquee.ingest.retention_terms import aggregate_remaining
from marquee.ingest.store import WriteCounts, write_batch
from marquee.ingest.watch_sessions import SMALL_BATCH

LINES: list[str | bytes] = [watch(1, 0), rate(1, 4), "broken", watch(1, 1)]


def test_another_time_zone_does_not_double_a_line(database: Database, parser: EventParser) -> None:
    """The time of a line is no part of what it is known by."""
    write_batch(database, batch(LINES), parser)
    assert write_batch(database, batch(LINES), EventParser(ZoneInfo("Asia/Tokyo"), 5)) == WriteCounts()
    assert record_counts.count_records(database).records == len(LINES)


class NewerParser(EventParser):
    """Understands what older ones did not."""

    def parse(self, text: str) -> Event | MalformedRecord:
        return super().parse(watch(9, 9) if text == "broken" else text)


def test_newer_parser_does_not_count_a_quarantined_line_twice(
    database: Database, parser: EventParser
) -> None:
    """That a line came again says nothing about whether somebody wants it replayed."""
    write_batch(database, batch(LINES), parser)
    assert write_batch(database, batch(LINES), NewerParser(ZoneInfo("UTC"), 5)) == WriteCounts()
    assert record_counts.count_records(database).quarantined == 1


def test_forgotten_line_does_not_come_back(database: Database, parser: EventParser) -> None:
    write_batch(database, batch(LINES), parser)
    with database.transaction() as cursor:
        cursor.execute("DELETE FROM watches")
    assert write_batch(database, batch(LINES), parser) == WriteCounts()


@pytest.mark.servers
def test_rows_that_the_ledger_does_not_know_are_no_error(
    plain_database: Database, parser: EventParser
) -> None:
    """As after a restore of some tables: COPY fails on the row that is there, and the batch goes in without it."""
    write_batch(plain_database, batch(LINES), parser)
    with plain_database.transaction() as cursor:
        cursor.execute("UPDATE written_offsets SET written = '{}'")
    more = batch([*LINES, watch(1, 2)])
    assert write_batch(plain_database, more, parser) == WriteCounts(watches=1)
    assert rows(plain_database, "SELECT written::text FROM written_offsets") == [("{[0,5)}",)]


def test_batches_in_any_order_leave_one_range(database: Database, parser: EventParser) -> None:
    for first in (2, 0, 3, 1, 2):
        write_batch(database, batch([LINES[first]], first), parser)
    assert rows(database, "SELECT written::text, unaggregated::text FROM written_offsets") == [
        ("{[0,4)}", "{}")
    ]


def _holed(offsets: list[int], since: int | None = None) -> StreamBatch:
    """A batch without the offsets that are missing."""
    return StreamBatch(
        "movielog",
        TOPIC_ID,
        0,
        tuple(make_record(offset, 0, watch(offset, 1).encode()) for offset in offsets),
        since,
    )


def test_offsets_that_a_sender_left_out_may_come_later(database: Database, parser: EventParser) -> None:
    """Without its word that Kafka holds no more, a batch answers for its own lines only."""
    write_batch(database, _holed([2, 3, 5, 9]), parser)
    assert rows(database, "SELECT written::text FROM written_offsets") == [("{[2,4),[5,6),[9,10)}",)]
    assert write_batch(database, _holed([1, 2, 4, 5, 8, 9]), parser) == WriteCounts(watches=3)
    assert write_batch(database, batch([watch(0, 1)] * 10), parser) == WriteCounts(watches=3)
    assert rows(database, "SELECT written::text FROM written_offsets") == [("{[0,10)}",)]
    assert rows(database, 'SELECT array_agg("offset"::int ORDER BY "offset") FROM watches') == [
        (list(range(10)),)
    ]


def test_what_kafka_does_not_hold_leaves_no_hole(database: Database, parser: EventParser) -> None:
    """Markers of transactions and compacted offsets, within a batch and between two: still one range."""
    write_batch(database, _holed([2, 3, 5], since=2), parser)
    write_batch(database, _holed([8, 11], since=6), parser)
    assert rows(database, "SELECT written::text FROM written_offsets") == [("{[2,12)}",)]
    assert write_batch(database, _holed([2, 3, 5, 8, 11], since=0), parser) == WriteCounts()


@given(known=st.sets(st.integers(0, 30)), offsets=st.sets(st.integers(0, 30), min_size=1))
def test_new_lines_are_those_outside_the_known_ranges(known: set[int], offsets: set[int]) -> None:
    ranges: tuple[tuple[int, int], ...] = ()
    for offset in known:
        ranges = union(ranges, offset, offset + 1)
    entry = WrittenOffsets(1, 0, min(offsets), max(offsets) + 1, (), ranges, (), 0.0)
    found = entry.new([make_record(offset, 0, b"") for offset in sorted(offsets)])
    assert [line.offset for line in found] == sorted(offsets - known)


def test_many_lines_are_folded_later(database: Database, parser: EventParser) -> None:
    """A large batch leaves its watches unfolded; the next small one folds them too."""
    many = [watch(user, 3) for user in range(SMALL_BATCH)]
    write_batch(database, batch(many), parser)
    assert rows(database, "SELECT count(*) FROM watch_sessions") == [(0,)]
    assert rows(database, "SELECT unaggregated::text FROM written_offsets") == [(f"{{[0,{SMALL_BATCH})}}",)]
    write_batch(database, batch([watch(0, 7)], SMALL_BATCH), parser)
    assert rows(database, "SELECT count(*), max(last_minute) FROM watch_sessions") == [(SMALL_BATCH, 7)]
    assert rows(database, "SELECT unaggregated::text FROM written_offsets") == [("{}",)]


def test_what_is_left_unfolded_is_folded_by_the_clock(database: Database, parser: EventParser) -> None:
    """Should no further line come; and doing it again changes nothing."""
    write_batch(database, batch([watch(user, 3) for user in range(SMALL_BATCH)]), parser)
    write_batch(database, batch([watch(7, 9)] * SMALL_BATCH, partition=1), parser)
    assert [aggregate_remaining(database), aggregate_remaining(database)] == [2 * SMALL_BATCH, 0]
    query = "SELECT first_minute, last_minute FROM watch_sessions WHERE user_id = '7'"
    assert rows(database, query) == [(3, 9)]
    assert rows(database, "SELECT count(*) FROM watch_sessions WHERE movie_id = %s", MOVIE) == [
        (SMALL_BATCH,)
    ]


def test_deliveries_are_counted_by_the_minute(database: Database, parser: EventParser) -> None:
    """Batches, lines, how many of them came again, the largest batch, and how old its oldest line was."""
    for first in (0, 2, 0):
        write_batch(database, batch(LINES[first:], first), parser)
    query = "SELECT sum(batches)::int, sum(records)::int, sum(redelivered)::int, max(batch_records_max)::int, max(lag_ms_max) "
    ((batches, lines, redelivered, most, lag_ms),) = rows(database, query + "FROM deliveries_per_minute")
    assert (batches, lines, redelivered, most) == (3, 10, 6, 4)
    assert isinstance(lag_ms, int)
    assert lag_ms >= 0


@pytest.mark.servers
def test_retention_folds_and_then_forgets(
    plain_database: Database, parser: EventParser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old watches go, and what they come to stays, though no batch had folded them."""
    write_batch(
        plain_database,
        batch([watch(user, 3, time="2020-01-01T00:00") for user in range(SMALL_BATCH)]),
        parser,
    )
    monkeypatch.setenv("MARQUEE_DATABASE_URL", plain_database.url)
    assert main(["retention"]) == 0
    assert rows(plain_database, "SELECT count(*) FROM watches") == [(0,)]
    assert rows(plain_database, "SELECT count(*) FROM watch_sessions") == [(SMALL_BATCH,)]


_SPANS = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9)), max_size=9)


@given(spans=_SPANS)
def test_joined_ranges_hold_the_same_offsets(spans: list[tuple[int, int]]) -> None:
    """In as few ranges as there can be, in order."""
    ranges: tuple[tuple[int, int], ...] = ()
    offsets: set[int] = set()
    for first, size in spans:
        ranges = union(ranges, first, first + size)
        offsets.update(range(first, first + size))
    assert {offset for first, after in ranges for offset in range(first, after)} == offsets
    assert count_offsets(ranges) == len(offsets)
    assert list(ranges) == sorted(ranges)
    assert all(before[1] < after[0] for before, after in pairwise(ranges))
    assert to_multirange(ranges).count("[") == len(ranges)
