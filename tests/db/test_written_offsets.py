"""Tests of the ledger of written offsets: a record is known by its offset, and is aggregated once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.records import MOVIE, TOPIC_ID, batch, rate, rows, watch
from tests.support.stub_parser import StubParser

from marquee.cli.main import main
from marquee.db import record_counts, written_offsets
from marquee.db.pool import Database
from marquee.db.written_offsets import MAX_RANGES, WrittenOffsets, count_offsets, to_multirange, union
from marquee.events.batches import StreamBatch, make_record
from marquee.events.kinds import Rating
from marquee.events.parser import EventParser
from marquee.ingest.retention_terms import aggregate_remaining
from marquee.ingest.store import WriteCounts, write_batch
from marquee.ingest.watch_sessions import SMALL_BATCH

RECORDS: list[str | bytes] = [watch(1, 0), rate(1, 4), "broken", watch(1, 1)]


def test_write_batch_other_time_zone_writes_nothing_again(database: Database, parser: EventParser) -> None:
    """The time of a record is not part of its identity."""
    write_batch(database, batch(RECORDS), parser)
    assert write_batch(database, batch(RECORDS), EventParser(ZoneInfo("Asia/Tokyo"))) == WriteCounts()
    assert record_counts.count_records(database).records == len(RECORDS)


def test_write_batch_newer_parser_leaves_quarantine_unchanged(database: Database, parser: EventParser) -> None:
    """A redelivery is not a replay."""
    newer = StubParser({"broken": Rating(datetime(2026, 2, 14, tzinfo=UTC), "9", MOVIE, 4)})
    write_batch(database, batch(RECORDS), parser)
    assert write_batch(database, batch(RECORDS), newer) == WriteCounts()
    assert record_counts.count_records(database).quarantined == 1


def test_write_batch_deleted_record_is_not_written_again(database: Database, parser: EventParser) -> None:
    """The ledger outlives the rows."""
    write_batch(database, batch(RECORDS), parser)
    with database.transaction() as cursor:
        cursor.execute("DELETE FROM watches")
    assert write_batch(database, batch(RECORDS), parser) == WriteCounts()


@pytest.mark.servers
def test_write_batch_rows_missing_in_ledger_are_skipped(plain_database: Database, parser: EventParser) -> None:
    """After a partial restore, COPY fails on an existing row, and the batch is written without COPY."""
    write_batch(plain_database, batch(RECORDS), parser)
    with plain_database.transaction() as cursor:
        cursor.execute("UPDATE written_offsets SET written = '{}'")
    more = batch([*RECORDS, watch(1, 2)])
    assert write_batch(plain_database, more, parser) == WriteCounts(watches=1)
    assert rows(plain_database, "SELECT written::text FROM written_offsets") == [("{[0,5)}",)]


def test_write_batch_any_order_leaves_one_range(database: Database, parser: EventParser) -> None:
    """Adjacent ranges are merged."""
    for first in (2, 0, 3, 1, 2):
        write_batch(database, batch([RECORDS[first]], first), parser)
    assert rows(database, "SELECT written::text, unaggregated::text FROM written_offsets") == [("{[0,4)}", "{}")]


def _sparse_batch(offsets: list[int], since: int | None = None) -> StreamBatch:
    """Return a batch of these offsets only."""
    return StreamBatch(
        "movielog",
        TOPIC_ID,
        0,
        tuple(make_record(offset, 0, watch(offset, 1).encode()) for offset in offsets),
        since,
    )


def test_write_batch_missing_offsets_may_arrive_later(database: Database, parser: EventParser) -> None:
    """Without ``since``, a batch covers its own records only."""
    write_batch(database, _sparse_batch([2, 3, 5, 9]), parser)
    assert rows(database, "SELECT written::text FROM written_offsets") == [("{[2,4),[5,6),[9,10)}",)]
    assert write_batch(database, _sparse_batch([1, 2, 4, 5, 8, 9]), parser) == WriteCounts(watches=3)
    assert write_batch(database, batch([watch(0, 1)] * 10), parser) == WriteCounts(watches=3)
    assert rows(database, "SELECT written::text FROM written_offsets") == [("{[0,10)}",)]
    assert rows(database, 'SELECT array_agg("offset"::int ORDER BY "offset") FROM watches') == [(list(range(10)),)]


def test_write_batch_since_covers_missing_offsets(database: Database, parser: EventParser) -> None:
    """Transaction markers and compacted offsets leave one range."""
    write_batch(database, _sparse_batch([2, 3, 5], since=2), parser)
    write_batch(database, _sparse_batch([8, 11], since=6), parser)
    assert rows(database, "SELECT written::text FROM written_offsets") == [("{[2,12)}",)]
    assert write_batch(database, _sparse_batch([2, 3, 5, 8, 11], since=0), parser) == WriteCounts()


@given(known=st.sets(st.integers(0, 30)), offsets=st.sets(st.integers(0, 30), min_size=1))
def test_new_returns_records_outside_written_ranges(known: set[int], offsets: set[int]) -> None:
    """Holds for any ranges and offsets."""
    ranges: tuple[tuple[int, int], ...] = ()
    for offset in known:
        ranges = union(ranges, offset, offset + 1)
    entry = WrittenOffsets(1, 0, min(offsets), max(offsets) + 1, (), ranges, (), 0.0)
    found = entry.new([make_record(offset, 0, b"") for offset in sorted(offsets)])
    assert [record.offset for record in found] == sorted(offsets - known)


def test_write_batch_large_batch_is_aggregated_by_next_small_one(database: Database, parser: EventParser) -> None:
    """A large batch leaves its watches unaggregated."""
    many = [watch(user, 3) for user in range(SMALL_BATCH)]
    write_batch(database, batch(many), parser)
    assert rows(database, "SELECT count(*) FROM watch_sessions") == [(0,)]
    assert rows(database, "SELECT unaggregated::text FROM written_offsets") == [(f"{{[0,{SMALL_BATCH})}}",)]
    write_batch(database, batch([watch(0, 7)], SMALL_BATCH), parser)
    assert rows(database, "SELECT count(*), max(last_minute) FROM watch_sessions") == [(SMALL_BATCH, 7)]
    assert rows(database, "SELECT unaggregated::text FROM written_offsets") == [("{}",)]


def test_aggregate_remaining_aggregates_all_partitions_once(database: Database, parser: EventParser) -> None:
    """The scheduled job aggregates what no later batch does; a second run changes nothing."""
    write_batch(database, batch([watch(user, 3) for user in range(SMALL_BATCH)]), parser)
    write_batch(database, batch([watch(7, 9)] * SMALL_BATCH, partition=1), parser)
    assert [aggregate_remaining(database), aggregate_remaining(database)] == [2 * SMALL_BATCH, 0]
    query = "SELECT first_minute, last_minute FROM watch_sessions WHERE user_id = '7'"
    assert rows(database, query) == [(3, 9)]
    assert rows(database, "SELECT count(*) FROM watch_sessions WHERE movie_id = %s", MOVIE) == [(SMALL_BATCH,)]


def test_record_delivery_counts_per_minute(database: Database, parser: EventParser) -> None:
    """Batches, records, redelivered records, the largest batch, and the age of its oldest record."""
    for first in (0, 2, 0):
        write_batch(database, batch(RECORDS[first:], first), parser)
    query = (
        "SELECT sum(batches)::int, sum(records)::int, sum(redelivered)::int, max(batch_records_max)::int, "
        "max(lag_ms_max) FROM deliveries_per_minute"
    )
    ((batches, records, redelivered, largest, lag_ms),) = rows(database, query)
    assert (batches, records, redelivered, largest) == (3, 10, 6, 4)
    assert isinstance(lag_ms, int)
    assert lag_ms >= 0


@pytest.mark.servers
def test_retention_command_aggregates_before_deleting(
    plain_database: Database, parser: EventParser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Expired watches are deleted only after they are aggregated."""
    # Older than the term of watches, younger than that of watch sessions.
    time = f"{datetime.now(UTC) - timedelta(days=30):%Y-%m-%dT%H:%M}"
    write_batch(plain_database, batch([watch(user, 3, time=time) for user in range(SMALL_BATCH)]), parser)
    monkeypatch.setenv("MARQUEE_DATABASE_URL", plain_database.url)
    assert main(["retention"]) == 0
    assert rows(plain_database, "SELECT count(*) FROM watches") == [(0,)]
    assert rows(plain_database, "SELECT count(*) FROM watch_sessions") == [(SMALL_BATCH,)]


_SPANS = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9)), max_size=9)


@given(spans=_SPANS)
def test_union_holds_all_offsets_in_minimal_ranges(spans: list[tuple[int, int]]) -> None:
    """The ranges are disjoint, ascending and as few as possible."""
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


@pytest.mark.servers
def test_write_batch_gaps_of_a_partition_are_bounded(plain_database: Database, parser: EventParser) -> None:
    """The cost of a write grows with the gaps: beyond the bound those within a batch and the oldest do not exist."""
    write_batch(plain_database, batch(RECORDS), parser)
    for before, after in ((100, 105), (MAX_RANGES - 1, MAX_RANGES), (MAX_RANGES, MAX_RANGES // 2 + 5)):
        with plain_database.transaction() as cursor:
            cursor.execute(
                "UPDATE written_offsets SET written = "
                "(SELECT range_agg(int8range(2 * n, 2 * n + 1)) FROM generate_series(1, %s) AS n)",
                (before,),
            )
        offsets = range(1_000_000 + before, 1_000_010 + before, 2)
        sparse = tuple(make_record(offset, 0, watch(1, 0).encode()) for offset in offsets)
        assert write_batch(plain_database, StreamBatch("movielog", TOPIC_ID, 0, sparse), parser).records == 5
        assert rows(plain_database, "SELECT count(*) FROM written_offsets, unnest(written)") == [(after,)]


@pytest.mark.servers
def test_write_batch_of_one_record_each_keeps_a_bounded_ledger(
    plain_database: Database, parser: EventParser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Adjacent batches are one range. Of batches with gaps the newest gaps stay open for their records."""
    monkeypatch.setattr(written_offsets, "MAX_RANGES", 8)

    def write(offset: int) -> int:
        record = make_record(offset, 0, watch(1, offset % 60).encode())
        return write_batch(plain_database, StreamBatch("movielog", TOPIC_ID, 0, (record,)), parser).records

    def count_ranges() -> int:
        ((ranges,),) = rows(plain_database, "SELECT count(*) FROM written_offsets, unnest(written)")
        return int(ranges)

    assert sum(write(offset) for offset in range(20)) == 20
    assert count_ranges() == 1
    for offset in range(100, 160, 2):
        assert write(offset) == 1
        assert count_ranges() <= 8
    assert [write(offset) for offset in (157, 158, 101)] == [1, 0, 0]
    monkeypatch.setattr(written_offsets, "MAX_MISSING", 1_000)
    for offset in range(10_000, 70_000, 2_000):
        assert write(offset) == 1
    assert write(11_000) == 1
