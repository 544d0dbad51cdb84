"""Tests of write_batch: each record is stored once, despite redelivery, concurrency and refused values."""

from __future__ import annotations

import random
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.records import MOVIE, TOPIC_ID, account, ask, batch, rate, rows, watch
from tests.support.stub_parser import UNSTORABLE_EVENTS, StubParser

from marquee.db import record_counts
from marquee.db.pool import Database
from marquee.errors import DatabaseRefused, DatabaseUnavailable
from marquee.events.batches import Record, StreamBatch
from marquee.events.kinds import (
    KIND_OF_EVENT,
    QUARANTINE,
    Event,
    MalformedRecord,
    Watch,
)
from marquee.events.parser import EventParser
from marquee.ingest.store import WriteCounts, write_batch

RECORDS = [
    watch(1, 0),
    watch(1, 1, time="2026-02-14T00:10"),
    rate(1, 4),
    ask(1, 200, "fight+club+1999, m*a*s*h+1970"),
    ask(2, 0, 'java.net.SocketException: {"reset", \\ by peer} to 127.0.0.1:8082, twice'),
    account(3),
    "2026-02-14T00:09:20.426,1,GZET /data/m/fight+club+1999/1.mpg",
]
EXPECTED_COUNTS = WriteCounts(watches=2, ratings=1, recommendation_requests=2, accounts=1, quarantine=1)


def test_write_batch_stores_each_kind_in_its_table(database: Database, parser: EventParser) -> None:
    """Every field is stored unchanged, including free text that needs quoting."""
    assert write_batch(database, batch(RECORDS, 10), parser) == EXPECTED_COUNTS
    at = datetime(2026, 2, 14, 0, 9, 20, 426000, tzinfo=UTC)
    assert rows(database, 'SELECT time, partition, "offset", user_id, movie_id, minute FROM watches ORDER BY 3') == [
        (at, 0, 10, "1", MOVIE, 0),
        (datetime(2026, 2, 14, 0, 10, tzinfo=UTC), 0, 11, "1", MOVIE, 1),
    ]
    assert rows(database, 'SELECT "offset", user_id, movie_id, rating FROM ratings') == [(12, "1", MOVIE, 4)]
    query = 'SELECT "offset", user_id, server, status, movie_ids, result, response_ms '
    assert rows(database, query + "FROM recommendation_requests ORDER BY 1") == [
        (13, "1", "127.0.0.1:8082", 200, [MOVIE, "m*a*s*h+1970"], "", 31),
        (
            14,
            "2",
            "127.0.0.1:8082",
            0,
            [],
            'java.net.SocketException: {"reset", \\ by peer} to 127.0.0.1:8082, twice',
            31,
        ),
    ]
    assert rows(database, 'SELECT "offset", user_id FROM accounts') == [(15, "3")]
    assert rows(database, 'SELECT "offset", category, time FROM quarantine') == [
        (16, "request", datetime.fromtimestamp(1_790_000_000.016, UTC))
    ]
    assert rows(database, "SELECT topic, topic_id FROM topics") == [("movielog", TOPIC_ID)]


def test_write_batch_twice_changes_nothing(database: Database, parser: EventParser) -> None:
    """The second write of a batch inserts no row."""
    write_batch(database, batch(RECORDS), parser)
    before = record_counts.count_records(database)
    assert write_batch(database, batch(RECORDS), parser) == WriteCounts()
    assert record_counts.count_records(database) == before


def test_write_batch_overlapping_batch_adds_only_new_records(database: Database, parser: EventParser) -> None:
    """Records that were written before are skipped."""
    write_batch(database, batch(RECORDS[:4], 0), parser)
    written = write_batch(database, batch(RECORDS[2:], 2), parser)
    assert written == WriteCounts(recommendation_requests=1, accounts=1, quarantine=1)
    assert record_counts.count_records(database).records == len(RECORDS)


def test_write_batch_recreated_topic_has_new_records(database: Database, parser: EventParser) -> None:
    """Its offsets start at 0 again, and its id distinguishes it."""
    write_batch(database, batch(RECORDS), parser)
    assert write_batch(database, batch(RECORDS, topic_id="BBBBBBBBQQ2hzSyMdQ0xkw"), parser) == EXPECTED_COUNTS
    assert record_counts.count_records(database).next_offsets == {("movielog", 0): len(RECORDS)}


def test_write_batch_partitions_are_independent(database: Database, parser: EventParser) -> None:
    """The same offsets of two partitions are different records."""
    write_batch(database, batch(RECORDS), parser)
    assert write_batch(database, batch(RECORDS, partition=1), parser) == EXPECTED_COUNTS
    assert record_counts.count_all(database).next_offsets == {("movielog", 0): 7, ("movielog", 1): 7}


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff\xfe\x00GET",
        b"",
        b"\x00",
        b"a\x00b",
        "\ud7ff\U0010ffff'\"\\".encode(),
        b"\\x00",
        bytes(range(256)),
    ],
)
def test_write_batch_malformed_record_is_stored_byte_for_byte(
    database: Database, parser: EventParser, raw: bytes
) -> None:
    """Quarantine holds any bytes."""
    assert write_batch(database, batch([raw]), parser) == WriteCounts(quarantine=1)
    assert [bytes(row[0]) for row in rows(database, "SELECT raw FROM quarantine")] == [raw]


def test_write_batch_record_without_kafka_time_is_stored(database: Database, parser: EventParser) -> None:
    """Kafka's timestamp is -1 if it has none."""
    records = StreamBatch("movielog", TOPIC_ID, 0, (Record(0, -1, "what"), Record(1, -1, watch(1, 2))))
    assert write_batch(database, records, parser) == WriteCounts(watches=1, quarantine=1)


def test_write_batch_implausible_year_is_quarantined(database: Database, parser: EventParser) -> None:
    """The years 1 and 9999 are valid in ISO 8601, and no time of an event; 1970 and today are."""
    today = f"{datetime.now(UTC):%Y-%m-%dT%H:%M}"
    records = [
        watch(1, 2, time="0001-01-01T00:00"),
        watch(1, 3, time="9999-12-31T23:59:59.999999"),
        watch(1, 4, time="1970-01-01T00:00"),
        watch(1, 5, time=today),
    ]
    assert write_batch(database, batch(records), parser) == WriteCounts(watches=2, quarantine=2)
    assert rows(database, 'SELECT "offset", category FROM quarantine ORDER BY 1') == [
        (0, "time"),
        (1, "time"),
    ]
    assert rows(database, "SELECT first_minute, last_minute FROM watch_sessions") == [(4, 5)]


def test_write_batch_watches_are_aggregated_in_any_order(database: Database, parser: EventParser) -> None:
    """A session spans the first to the last minute, whatever the order of the records."""
    minutes = [7, 3, 5, 12, 4]
    records = [watch(1, minute, time=f"2026-02-14T00:{minute:02d}") for minute in minutes]
    for offset in (3, 0, 4, 1, 2, 0):
        write_batch(database, batch([records[offset]], offset), parser)
    start = datetime(2026, 2, 14, tzinfo=UTC)
    assert rows(database, "SELECT * FROM watch_sessions") == [
        ("1", MOVIE, start + timedelta(minutes=3), start + timedelta(minutes=12), 3, 12)
    ]


def test_count_all_after_redelivery_equals_count_records(database: Database, parser: EventParser) -> None:
    """The running totals count new rows only."""
    for first in (0, 3, 0, 5):
        write_batch(database, batch(RECORDS[first:], first), parser)
    assert record_counts.count_all(database) == record_counts.count_records(database)
    assert record_counts.count_records(database) == record_counts.RecordCounts(
        by_table=EXPECTED_COUNTS.by_record_table,
        quarantine_by_category={"request": 1},
        next_offsets={("movielog", 0): 7},
        impressions=0,
        rejected_events=0,
    )


def test_records_per_minute_counts_each_record_in_its_minute(database: Database, parser: EventParser) -> None:
    """The views include the newest rows, on both kinds of database."""
    write_batch(database, batch(RECORDS), parser)
    minute = datetime(2026, 2, 14, 0, 9, tzinfo=UTC)
    assert rows(
        database,
        "SELECT kind, time, records FROM records_per_minute WHERE kind <> 'quarantine' ORDER BY 1, 2",
    ) == [
        ("account", minute, 1),
        ("rating", minute, 1),
        ("recommendation_request", minute, 2),
        ("watch", minute, 1),
        ("watch", minute + timedelta(minutes=1), 1),
    ]
    assert rows(database, "SELECT sum(records)::int FROM records_per_minute") == [(7,)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.servers
def test_write_batch_concurrent_redeliveries_store_each_record_once(
    plain_database: Database, parser: EventParser, seed: int
) -> None:
    """Four writers repeat overlapping slices in any order; the result is exact."""
    chance = random.Random(seed)
    records = [_random_record(chance) for _ in range(400)]
    slices = [(first, first + chance.randint(20, 120)) for first in range(0, 400, 20)] * 3
    chance.shuffle(slices)
    failures: list[BaseException] = []

    def deliver(own_slices: list[tuple[int, int]]) -> None:
        try:
            for first, end in own_slices:
                write_batch(plain_database, batch(records[first:end], first), parser)
        except BaseException as error:
            failures.append(error)

    writers = [threading.Thread(target=deliver, args=(slices[start::4],)) for start in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failures == []
    counts = record_counts.count_records(plain_database)
    assert counts == record_counts.count_all(plain_database)
    assert counts.records == 400
    assert Counter(counts.by_table) == Counter(_table(parser.parse(record)) for record in records)
    assert _watch_sessions(plain_database) == _expected_watch_sessions([parser.parse(record) for record in records])


def _random_record(chance: random.Random) -> str:
    user = chance.randint(1, 12)
    kind = chance.random()
    if kind < 0.9:
        return watch(user, chance.randint(0, 90), chance.choice([MOVIE, "m*a*s*h+1970"]))
    if kind < 0.93:
        return rate(user, chance.randint(1, 5))
    if kind < 0.96:
        return ask(user, 200, MOVIE)
    return chance.choice([account(user), "nonsense"])


def _table(event: Event | MalformedRecord) -> str:
    return QUARANTINE if isinstance(event, MalformedRecord) else KIND_OF_EVENT[type(event)].table


def _watch_sessions(database: Database) -> list[tuple[object, ...]]:
    return rows(database, "SELECT user_id, movie_id, first_minute, last_minute FROM watch_sessions ORDER BY 1, 2")


def _expected_watch_sessions(events: list[Event | MalformedRecord]) -> list[tuple[object, ...]]:
    watches = [event for event in events if isinstance(event, Watch)]
    keys = sorted({(event.user_id, event.movie_id) for event in watches})
    minutes = {key: [w.minute for w in watches if (w.user_id, w.movie_id) == key] for key in keys}
    return [(*key, min(minutes[key]), max(minutes[key])) for key in keys]


@pytest.mark.servers
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.one_of(st.binary(max_size=80), st.text(max_size=80).map(str.encode)), min_size=1, max_size=8))
def test_write_batch_any_bytes_are_stored(plain_database: Database, parser: EventParser, values: list[bytes]) -> None:
    """No content of a record makes a write fail, and each is stored unchanged."""
    with plain_database.transaction() as cursor:
        cursor.execute("TRUNCATE quarantine, watches, ratings, recommendation_requests, accounts, written_offsets")
    assert write_batch(plain_database, batch(values), parser).records == len(values)
    stored = dict(rows(plain_database, 'SELECT "offset", raw FROM quarantine'))
    assert all(bytes(raw) == values[offset] for offset, raw in stored.items())


def test_write_batch_unstorable_event_is_quarantined_alone(database: Database) -> None:
    """The rest of its batch is stored, each record once."""
    records = [watch(1, 1), "nul", rate(1, 2), watch(1, 3), "huge", "broken"]
    parser = StubParser(UNSTORABLE_EVENTS)
    assert write_batch(database, batch(records), parser) == WriteCounts(watches=2, ratings=1, quarantine=3)
    assert write_batch(database, batch(records), parser) == WriteCounts()
    assert rows(database, 'SELECT "offset", category FROM quarantine ORDER BY 1') == [
        (1, "unstorable"),
        (4, "unstorable"),
        (5, "time"),
    ]


@pytest.mark.servers
def test_write_batch_missing_tables_raises_refused(empty_url: str, parser: EventParser) -> None:
    """A database without migrations refuses, and the message says what to do."""
    with pytest.raises(DatabaseRefused, match="marquee migrate"):
        write_batch(Database(empty_url), batch(RECORDS), parser)


def test_write_batch_no_database_raises_unavailable(parser: EventParser) -> None:
    """A missing server is a transient error."""
    with pytest.raises(DatabaseUnavailable):
        write_batch(Database("postgresql://app@127.0.0.1:1/marquee"), batch(RECORDS), parser)
