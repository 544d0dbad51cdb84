"""Tests of the writes of events over HTTP: once by (source, event id), quarantined and counted like the log."""

from __future__ import annotations

import random
import threading
from datetime import UTC

import pytest
from tests.events.json_examples import EXAMPLES, make_event, rating
from tests.support.records import batch, rows, watch

from marquee.db import record_counts
from marquee.db.pool import Database
from marquee.events.envelopes import encode_batch, to_http
from marquee.events.json_records import JsonRecordParser
from marquee.events.kinds import DROPPED, EVENT_KINDS, QUARANTINE
from marquee.events.log_scale import LogScale
from marquee.events.parser import EventParser
from marquee.ingest.handler import IngestHandler
from marquee.ingest.http_events import PARTITIONS, EventsReceipt, write_events
from marquee.ingest.quarantine import Selection, replay_records

PARSER = JsonRecordParser(by_id=True)
EACH = [text.encode() for text in EXAMPLES]


def write(database: Database, *events: str | bytes, source: str = "app") -> EventsReceipt:
    return write_events(database, source, [e if isinstance(e, bytes) else e.encode() for e in events], PARSER)


def test_write_events_each_kind_is_in_its_table(database: Database) -> None:
    """One row in each table, the counters and the deliveries agree, and the watch has its session."""
    assert write(database, *EACH) == EventsReceipt(len(EACH), 0, ())
    counts = record_counts.count_records(database)
    assert counts.by_table == {**{kind.table: 1 for kind in EVENT_KINDS}, QUARANTINE: 0, DROPPED: 0}
    assert record_counts.count_all(database).by_table == counts.by_table
    assert rows(database, "SELECT user_id, last_minute FROM watch_sessions") == [("7", 17)]
    assert rows(database, "SELECT topic FROM topics") == [("http/app",)]
    assert rows(database, "SELECT records, redelivered FROM deliveries_per_minute") == [(6, 0)]
    assert rows(database, "SELECT movie_ids FROM impressions_shown") == [(["fargo+1996", "up+2009"],)]


def test_write_events_again_writes_nothing(database: Database) -> None:
    """A repeated request, a part of it, and an id twice in one request are recognized; another source is another."""
    write(database, *EACH)
    assert write(database, *EACH) == EventsReceipt(0, 6, ())
    assert write(database, EACH[1], rating("new"), rating("new", rating=1)) == EventsReceipt(1, 2, ())
    assert write(database, EACH[1], source="other") == EventsReceipt(1, 0, ())
    assert rows(database, "SELECT rating FROM ratings ORDER BY rating") == [(4,), (5,), (5,)]
    assert record_counts.count_all(database) == record_counts.count_records(database)


def test_write_events_malformed_event_is_quarantined(database: Database) -> None:
    """It is stored once with its bytes, the others are written, and its id can be sent again, corrected."""
    wrong = rating("a", rating=9)
    for repeated in (0, 1):
        outcome = write(database, wrong, rating("b"), b"[1]")
        assert (outcome.accepted, outcome.repeated) == (1 - repeated, repeated)
        assert [(e.index, e.id, e.category) for e in outcome.refused] == [(0, "a", "rating"), (2, None, "json")]
        assert "'9' is not a whole number from 1 to 5" in outcome.refused[0].reason
    assert rows(database, "SELECT category FROM quarantine ORDER BY 1") == [("json",), ("rating",)]
    assert write(database, rating("a", rating=3)) == EventsReceipt(1, 0, ())
    assert record_counts.count_all(database) == record_counts.count_records(database)


@pytest.mark.parametrize("id", ["null", "Undefined", "00000000-0000-0000-0000-000000000000", "F" * 32])
def test_write_events_id_that_stands_for_none_loses_nothing(
    plain_database: Database, parser: EventParser, id: str
) -> None:
    """Two events with it are refused and kept, not one event and its repetition; a replay stores both."""
    outcome = write(plain_database, rating(id), rating(id, rating=2), rating("own"))
    assert (outcome.accepted, outcome.repeated, [e.category for e in outcome.refused]) == (1, 0, ["event_id"] * 2)
    assert replay_records(plain_database, Selection(), parser).moved == {"ratings": 2}


def test_quarantine_replay_reads_json(database: Database, parser: EventParser) -> None:
    """A rating of the scale to 10 moves to its table once the parser knows the scale."""
    write(database, rating("a", rating=9), rating("b", rating=2))
    assert replay_records(database, Selection(), parser).remaining == 1
    moved = replay_records(database, Selection(), EventParser(UTC, LogScale(1, 10)))
    assert (moved.moved, moved.remaining) == ({"ratings": 1}, 0)
    assert record_counts.count_all(database) == record_counts.count_records(database)


def test_write_events_implausible_time_is_quarantined(plain_database: Database) -> None:
    """A time more than a day ahead of the clock is refused, as in the log."""
    outcome = write(plain_database, rating("a", time="2999-01-01T00:00:00Z"))
    assert [(event.category, outcome.accepted) for event in outcome.refused] == [("time", 0)]


def test_write_events_unstorable_event_does_not_stop_the_others(plain_database: Database) -> None:
    """An event that the parser accepts and the database refuses is quarantined alone."""
    with plain_database.transaction() as cursor:
        cursor.execute("ALTER TABLE ratings ADD CHECK (user_id <> 'bad')")
    events = [rating(str(n), user_id="bad" if n == 5 else str(n)) for n in range(9)]
    outcome = write(plain_database, *events)
    assert (outcome.accepted, [(e.index, e.category) for e in outcome.refused]) == (8, [(5, "unstorable")])
    assert write(plain_database, *events).accepted == 0
    assert record_counts.count_all(plain_database) == record_counts.count_records(plain_database)


def test_write_events_overlapping_writers_write_each_event_once(plain_database: Database) -> None:
    """Threads that send overlapping batches in any order neither deadlock nor double a row."""
    events = [make_event("watch", f"w{n}", str(n % 7), movie_id="up+2009", minute=n) for n in range(120)]
    failures: list[Exception] = []

    def send(seed: int) -> None:
        rng = random.Random(seed)
        try:
            for _ in range(6):
                write(plain_database, *rng.sample(events, 40))
        except Exception as error:  # A thread's error must fail the test.
            failures.append(error)

    threads = [threading.Thread(target=send, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    write(plain_database, *events)
    assert failures == []
    assert rows(plain_database, "SELECT count(*), count(DISTINCT minute) FROM watches") == [(120, 120)]
    ((partitions,),) = rows(plain_database, "SELECT count(DISTINCT partition) FROM watches")
    assert 1 < partitions <= PARTITIONS
    assert record_counts.count_all(plain_database) == record_counts.count_records(plain_database)


def test_write_batch_of_bridge_may_hold_both_formats(plain_database: Database) -> None:
    """Each record of a batch is parsed as text or as JSON; a malformed one of either is in quarantine."""
    handler = IngestHandler(plain_database, EventParser(UTC))
    handler.accept(*to_http(encode_batch(batch([watch(1, 0), EACH[0], "no record", '{"id": "a"']))))
    assert rows(plain_database, "SELECT user_id FROM watches ORDER BY user_id") == [("1",), ("7",)]
    assert rows(plain_database, "SELECT category FROM quarantine ORDER BY category") == [("json",), ("time",)]
