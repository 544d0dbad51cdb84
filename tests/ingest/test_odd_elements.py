"""Tests of odd metadata and odd elements: one bad element must not condemn its batch."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from tests.support.records import TOPIC_ID, batch, rate, rows, watch

from marquee.cli.main import main
from marquee.db import record_counts
from marquee.db.pool import Database
from marquee.events.batches import Impression, ImpressionBatch, Record, StreamBatch
from marquee.events.envelopes import encode_batch, to_http
from marquee.events.parser import EventParser
from marquee.ingest.handler import IngestHandler, RejectedEvent
from marquee.ingest.store import WriteCounts, write_batch

NOW_MS = int(time.time() * 1000)
ODD_TIMESTAMPS = [-2, -(2**63), 0, 253_402_300_799_001, 1_790_000_000_000_000, 1_790_000_000, 2**63 - 1]


@pytest.fixture
def handler(plain_database: Database, parser: EventParser) -> IngestHandler:
    return IngestHandler(plain_database, parser)


def deliver(handler: IngestHandler, data: dict[str, Any]) -> object:
    """Deliver ``data`` as a batch of records."""
    headers, _ = to_http(encode_batch(batch([watch(1, 1)])))
    return handler.accept(headers, json.dumps(data).encode())


def stream_data(*records: object, **changes: object) -> dict[str, Any]:
    """Return the data of a batch."""
    return {"topic": "movielog", "topic_id": TOPIC_ID, "partition": 0, "records": list(records)} | changes


def record(offset: object, text: object, **changes: object) -> dict[str, object]:
    """Return one record as JSON."""
    return {"offset": offset, "timestamp_ms": NOW_MS, "text": text} | changes


@pytest.mark.parametrize("timestamp_ms", ODD_TIMESTAMPS)
def test_accept_odd_kafka_timestamp_stores_all_records(
    handler: IngestHandler, plain_database: Database, timestamp_ms: int
) -> None:
    """The timestamp only measures the delay; a quarantined record gets the writer's time instead."""
    records = (
        Record(0, NOW_MS, watch(1, 1)),
        Record(1, timestamp_ms, rate(1, 5)),
        Record(2, timestamp_ms, "nonsense"),
    )
    headers, body = to_http(encode_batch(StreamBatch("movielog", TOPIC_ID, 0, records)))
    assert handler.accept(headers, body) == WriteCounts(watches=1, ratings=1, quarantine=1)
    ((quarantined, rejected),) = rows(
        plain_database, "SELECT (SELECT max(time) FROM quarantine), (SELECT count(*) FROM rejected_events)"
    )
    assert rejected == 0
    assert datetime(1970, 1, 1, tzinfo=UTC) <= quarantined <= datetime.now(UTC) + timedelta(minutes=1)


def test_write_batch_only_unknown_timestamps_has_no_lag(database: Database, parser: EventParser) -> None:
    """An unknown timestamp is not an age of decades."""
    records = StreamBatch("movielog", TOPIC_ID, 0, (Record(0, -2, watch(1, 1)), Record(1, 10**17, rate(1, 2))))
    write_batch(database, records, parser)
    assert rows(database, "SELECT lag_ms_max FROM deliveries_per_minute") == [(None,)]


@pytest.mark.parametrize(
    "bad",
    [
        record(1, None),
        record(1, "x", base64="eA=="),
        record(1, None, base64="*"),
        record(-1, "x"),
        record(2**62, "x"),
        record(10**400, "x"),
        record("1", "x"),
        record(0, "another text at the same offset"),
        record(1, 7),
        None,
        [],
        "\ud800",
    ],
    ids=range(12),
)
def test_accept_one_bad_element_stores_the_others(
    handler: IngestHandler, plain_database: Database, bad: object
) -> None:
    """The bad element becomes a rejected event of its own, with its bytes; a redelivery changes nothing."""
    data = stream_data(record(0, watch(1, 1)), bad, record(2, rate(1, 4)), since=0)
    assert deliver(handler, data) == WriteCounts(watches=1, ratings=1)
    assert deliver(handler, data) == WriteCounts()
    ((body,),) = rows(plain_database, "SELECT body FROM rejected_events")
    assert json.loads(bytes(body))["records"] == [bad]
    assert rows(plain_database, "SELECT written::text FROM written_offsets") == [("{[0,1),[2,3)}",)]


@pytest.mark.parametrize("timestamp_ms", [None, "now", 1.5, 10**30, True, [], {"a": 1}])
def test_accept_timestamp_of_another_type_stores_all_records(
    handler: IngestHandler, plain_database: Database, timestamp_ms: object
) -> None:
    """Metadata of the wrong type is unknown."""
    data = stream_data(record(0, watch(1, 1)), record(1, rate(1, 4), timestamp_ms=timestamp_ms))
    assert deliver(handler, data) == WriteCounts(watches=1, ratings=1)
    assert record_counts.count_records(plain_database).rejected_events == 0


def test_accept_records_out_of_order_stores_each_once(handler: IngestHandler, plain_database: Database) -> None:
    """The order within a batch is not a condition, and an element that occurs twice is one record."""
    data = stream_data(record(2, watch(1, 1)), record(0, rate(1, 4)), record(2, watch(1, 1)))
    assert deliver(handler, data) == WriteCounts(watches=1, ratings=1)
    assert record_counts.count_records(plain_database).rejected_events == 0


@pytest.mark.parametrize("since", [-1, 8, 2**62, "0", 1.5, True])
def test_accept_invalid_since_is_ignored(handler: IngestHandler, plain_database: Database, since: object) -> None:
    """It says which offsets need not be awaited; the records do not depend on it."""
    assert deliver(handler, stream_data(record(7, watch(1, 1)), since=since)) == WriteCounts(watches=1)
    assert rows(plain_database, "SELECT written::text FROM written_offsets") == [("{[7,8)}",)]


@pytest.mark.parametrize("offsets", [(5_000_000,), (0, 5_000_000)])
def test_write_batch_incredible_since_is_ignored(
    database: Database, parser: EventParser, offsets: tuple[int, ...]
) -> None:
    """A sender cannot mark millions of offsets as written, so records that come later are stored."""
    forged = tuple(Record(offset, NOW_MS, watch(1, 1)) for offset in offsets)
    write_batch(database, StreamBatch("movielog", TOPIC_ID, 0, forged, since=0), parser)
    assert write_batch(database, batch([rate(1, 4)], 77), parser) == WriteCounts(ratings=1)


def test_write_batch_text_with_nul_is_quarantined_alone(database: Database, parser: EventParser) -> None:
    """PostgreSQL cannot store NUL as text; the raw bytes are kept."""
    assert write_batch(database, batch([watch(1, 1), "a\0b", watch(1, 2)]), parser) == WriteCounts(
        watches=2, quarantine=1
    )


@pytest.mark.parametrize(
    "change",
    [
        {"id": "a\0b"},
        {"id": ""},
        {"user_id": ""},
        {"release": 2**40},
        {"eligible": 2**31},
        {"policy": -(2**40)},
        {"page": 2**15},
        {"took_ms": 1e300},
        {"time": "0001-01-01T00:00:00Z"},
        {"time": "9999-12-31T23:59:59Z"},
        {"movies": 7},
    ],
)
def test_accept_one_bad_impression_stores_the_others(
    handler: IngestHandler, plain_database: Database, change: dict[str, object]
) -> None:
    """The bad impression becomes a rejected event."""
    shown = [Impression(f"i{n}", datetime.now(UTC), "7", "a", "v1", 1, "popular", ()) for n in range(3)]
    headers, body = to_http(encode_batch(ImpressionBatch("b1", tuple(shown))))
    data = json.loads(body)
    data["impressions"][1] |= change
    assert handler.accept(headers, json.dumps(data).encode()) == WriteCounts(impressions=2)
    ((kept,),) = rows(plain_database, "SELECT body FROM rejected_events")
    assert json.loads(bytes(kept))["impressions"] == [data["impressions"][1]]


@pytest.mark.parametrize("topic_id", ["", "AAAAAAAAAAAAAAAAAAAAAA", "00000000-0000-0000-0000-000000000000"])
def test_accept_topic_id_that_stands_for_none_is_rejected(
    handler: IngestHandler, plain_database: Database, topic_id: str
) -> None:
    """A sender that does not know the id must not make all topics the same; the batch is kept and named."""
    for topic in ("movielog1", "movielog2"):
        sent = replace(batch([watch(1, 0)], topic_id=topic_id), topic=topic)
        answer = handler.accept(*to_http(encode_batch(sent)))
        assert isinstance(answer, RejectedEvent)
        assert "stands for a missing one" in answer.reason
    assert rows(plain_database, "SELECT count(*) FROM rejected_events") == [(2,)]


def ahead(days: float) -> str:
    """Return the time of a record this many days ahead of now."""
    return f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%dT%H:%M:%S}"


@pytest.mark.parametrize("timestamp_ms", [-1, NOW_MS, 0, 10**15], ids=["none", "now", "zero", "odd"])
def test_write_batch_time_ahead_of_the_clock_is_quarantined(
    database: Database, parser: EventParser, timestamp_ms: int
) -> None:
    """More than a day ahead, for every kind of event; less is a zone or a clock."""
    texts = [
        watch(1, 1, time=ahead(1.1)),
        rate(1, 4, time="9022-11-14T12:24"),
        watch(1, 2, time=ahead(0.9)),
        rate(1, 4, time="2099-11-29T10:00:00"),
        rate(1, 5, time=ahead(-400)),
        watch(1, 3, time="1998-01-01T00:00"),
    ]
    records = tuple(Record(offset, timestamp_ms, text) for offset, text in enumerate(texts))
    written = write_batch(database, StreamBatch("movielog", TOPIC_ID, 0, records), parser)
    assert written == WriteCounts(watches=2, ratings=1, quarantine=3)
    assert rows(database, 'SELECT "offset", category FROM quarantine ORDER BY 1') == [
        (0, "time"),
        (1, "time"),
        (3, "time"),
    ]
    ((detail,),) = rows(database, 'SELECT detail FROM quarantine WHERE "offset" = 1')
    assert detail.startswith("9022-11-14T12:24:00Z is after ")


def test_write_batch_time_ahead_of_kafkas_is_quarantined(database: Database, parser: EventParser) -> None:
    """A record cannot be over a year younger than Kafka's copy of it; an old record is a replay."""
    texts = [watch(1, 1, time="2024-03-01T00:00"), watch(1, 2, time="2023-03-01T00:00"), rate(1, 5)]
    records = tuple(Record(offset, 1_668_428_640_000, text) for offset, text in enumerate(texts))
    written = write_batch(database, StreamBatch("movielog", TOPIC_ID, 0, records), parser)
    assert written == WriteCounts(watches=1, quarantine=2)


@pytest.mark.parametrize(
    "moment", ["0001-01-01T00:00", "1022-11-14T12:24", "1601-01-01T00:00", "1969-12-31T23:59:59.999"]
)
def test_write_batch_time_before_1970_is_quarantined(database: Database, parser: EventParser, moment: str) -> None:
    """The zero times of other systems are no times of events."""
    written = write_batch(database, batch([watch(1, 1, time=moment), rate(1, 4, time=moment), rate(1, 4)]), parser)
    assert written == WriteCounts(ratings=1, quarantine=2)


def test_rejected_command_lists_shows_and_replays(
    handler: IngestHandler,
    plain_database: Database,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A valid event is written and removed, once; the rest stays, and a cut body is not replayed."""
    headers, body = to_http(encode_batch(batch([watch(1, 1), rate(1, 4)])))
    handler.accept({**headers, "ce-type": "marquee.stream-batch.v9"}, body)
    handler.accept({"content-type": "text/plain"}, b"garbage")
    handler.accept({"content-type": "text/plain"}, b"g" * 70_000)
    with plain_database.transaction() as cursor:  # As if this version knew the type.
        cursor.execute(
            "UPDATE rejected_events SET headers = jsonb_set(headers, '{ce-type}', '\"marquee.stream-batch.v1\"') "
            "WHERE headers ? 'ce-type'"
        )
    monkeypatch.setenv("MARQUEE_DATABASE_URL", plain_database.url)
    assert main(["rejected", "list"]) == 0
    assert main(["rejected", "show", "--limit", "1"]) == 0
    out = capsys.readouterr().out
    assert "v9" in out
    assert "70000 bytes, of which 65536 are kept" in out
    for accepted in (1, 0):
        assert main(["rejected", "replay"]) == 0
        assert f"accepted: {accepted}; still rejected: 1; kept in part, so not replayed: 1" in (capsys.readouterr().out)
    counts = record_counts.count_records(plain_database)
    assert (counts.records, counts.rejected_events) == (2, 2)


def test_retention_deletes_rejected_events_after_30_days(
    handler: IngestHandler, plain_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Younger ones stay."""
    handler.accept({}, b"old")
    with plain_database.transaction() as cursor:
        cursor.execute("UPDATE rejected_events SET received = now() - interval '31 days'")
    handler.accept({}, b"new")
    monkeypatch.setenv("MARQUEE_DATABASE_URL", plain_database.url)
    assert main(["retention"]) == 0
    assert [bytes(body) for (body,) in rows(plain_database, "SELECT body FROM rejected_events")] == [b"new"]
