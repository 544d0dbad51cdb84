"""Records of marked users: dropped on every way in, counted, and recognized in what cannot be parsed."""

from __future__ import annotations

import json
import threading
from base64 import b64encode
from datetime import UTC, datetime

import pytest
from tests.events.json_examples import EXAMPLES, rating
from tests.support.records import account, ask, batch, rate, rows, watch

from marquee.db import record_counts
from marquee.db.pool import Database
from marquee.db.privacy_marks import FORGOTTEN, NOT_PROFILED, MarkReader, change_mark, make_pseudonym
from marquee.errors import PrivacyKeyWrong
from marquee.events.batches import Impression, ImpressionBatch
from marquee.events.json_records import JsonRecordParser
from marquee.events.kinds import DROPPED, EVENT_KINDS
from marquee.events.log_scale import LogScale
from marquee.events.parser import EventParser
from marquee.ingest import quarantine
from marquee.ingest.http_events import write_events
from marquee.ingest.marked_users import find_user_ids
from marquee.ingest.store import store_rejected, write_batch, write_impressions

KEY = "k" * 32
RECORDS = [
    watch(42, 1),
    watch(7, 1),
    rate(42, 5),
    rate(420, 5),
    ask(42, 200, "up+2009"),
    account(42),
    "x,42,?",
    "x,7,?",
]


def mark(database: Database, *users: str, mark: str = FORGOTTEN, marked: bool = True) -> None:
    with database.transaction() as cursor:
        change_mark(cursor, KEY, users, mark, marked=marked)


def test_pseudonyms_replace_ids_on_every_way_in(database: Database, parser: EventParser) -> None:
    """Records, JSON events, impressions of an older `recommend`, and replayed records have pseudonyms; marks hold."""
    write_batch(database, batch(["bad,7,GET /rate/up+2009=5"], partition=3), parser, MarkReader(KEY))
    with database.transaction() as cursor:
        cursor.execute("UPDATE privacy_state SET pseudonyms = true, version = version + 1")
    mark(database, "42")
    reader, seven = MarkReader(KEY), make_pseudonym(KEY, "7")
    write_batch(database, batch(RECORDS), parser, reader)
    write_events(database, "app", [rating("e1", "7", 5).encode(), rating("e2", "42", 5).encode()],
                 JsonRecordParser(), reader)  # fmt: skip
    shown = [
        Impression(id, datetime(2026, 3, 1, tzinfo=UTC), user, "control", "v", 1, "popular", ())
        for id, user in (("a", "7"), ("b", seven), ("c", "42"), ("d", make_pseudonym(KEY, "42")))
    ]
    write_impressions(database, ImpressionBatch("i", tuple(shown)), reader)
    with database.transaction() as cursor:
        cursor.execute("UPDATE quarantine SET raw = %s WHERE partition = 3", (rate(7, 4).encode(),))
    quarantine.replay_records(database, quarantine.Selection(), parser, reader)
    for table, expected in (("watches", 1), ("watch_sessions", 1), ("impressions", 2)):
        assert rows(database, f"SELECT user_id, count(*) FROM {table} GROUP BY 1") == [(seven, expected)], table
    ratings = dict(rows(database, "SELECT user_id, count(*) FROM ratings GROUP BY 1"))
    assert ratings == {seven: 2, make_pseudonym(KEY, "420"): 1}
    counts = record_counts.count_records(database)
    assert record_counts.count_all(database) == counts


@pytest.mark.parametrize("kind_of_mark", [FORGOTTEN, NOT_PROFILED])
def test_write_batch_drops_records_of_marked_user_and_counts_them(
    database: Database, parser: EventParser, kind_of_mark: str
) -> None:
    """Events of every kind and malformed records are dropped; each record is counted once, redelivered or not."""
    mark(database, "42", mark=kind_of_mark)
    reader = MarkReader(KEY)
    for first in (0, 3, 0):
        write_batch(database, batch(RECORDS[first:], first), parser, reader)
    counts = record_counts.count_records(database)
    assert counts.by_table[DROPPED] == 5
    assert counts.records == len(RECORDS)
    assert record_counts.count_all(database) == counts
    assert rows(database, 'SELECT "offset" FROM dropped_records ORDER BY 1') == [(0,), (2,), (4,), (5,), (6,)]
    assert rows(database, "SELECT user_id FROM watches UNION ALL SELECT user_id FROM ratings") == [("7",), ("420",)]
    assert rows(database, "SELECT user_id FROM watch_sessions") == [("7",)]


def test_write_events_drops_events_of_marked_user(database: Database) -> None:
    """Every kind of JSON event is dropped; the sender is told the same as before."""
    mark(database, *{json.loads(event)["user_id"] for event in EXAMPLES})
    outcome = write_events(database, "app", [e.encode() for e in EXAMPLES], JsonRecordParser(), MarkReader(KEY))
    assert (outcome.accepted, outcome.refused) == (len(EXAMPLES), ())
    counts = record_counts.count_records(database)
    assert counts.by_table[DROPPED] == counts.records == len(EVENT_KINDS)


def test_write_impressions_drops_those_of_marked_user(plain_database: Database) -> None:
    """An impression of a marked user is not stored, the others of its batch are."""
    mark(plain_database, "42")
    impressions = [
        Impression(id, datetime(2026, 3, 1, tzinfo=UTC), user, "control", "v", 1, "popular", ())
        for id, user in (("a", "42"), ("b", "7"))
    ]
    written = write_impressions(plain_database, ImpressionBatch("i", tuple(impressions)), MarkReader(KEY))
    assert written["impressions"] == 1
    assert rows(plain_database, "SELECT user_id FROM impressions") == [("7",)]


def test_store_rejected_names_no_marked_user(plain_database: Database) -> None:
    """A body that cannot be read and names a marked user is not kept, not even in base64."""
    mark(plain_database, "42")
    record = json.dumps({"records": [{"offset": 1, "text": watch(42, 1)}]})
    push = json.dumps({"message": {"data": b64encode(record.encode()).decode()}})
    for body in (record, push, '{"user_id": 42', '{"user_id": "7"'):
        store_rejected(plain_database, "?", {}, body.encode(), MarkReader(KEY))
    assert [bytes(body) for (body,) in rows(plain_database, "SELECT body FROM rejected_events")] == [b'{"user_id": "7"']


def test_replay_drops_quarantined_records_of_marked_user(plain_database: Database, parser: EventParser) -> None:
    """A record that was quarantined before the mark becomes no row when it is replayed."""
    write_batch(plain_database, batch([rate(42, 9), rate(7, 9), rate(7, 5)]), parser)
    mark(plain_database, "42")
    result = quarantine.replay_records(
        plain_database, quarantine.Selection(), EventParser(UTC, LogScale(1, 10)), MarkReader(KEY)
    )
    assert result.moved == {"ratings": 1, DROPPED: 1}
    counts = record_counts.count_records(plain_database)
    assert (counts.records, counts.by_table["ratings"], counts.quarantined) == (3, 2, 0)
    assert record_counts.count_all(plain_database) == counts


def test_write_batch_user_unmarked_again_is_stored(plain_database: Database, parser: EventParser) -> None:
    """A reader sees every change of the marks, also the removal of one."""
    reader = MarkReader(KEY)
    mark(plain_database, "42", mark=NOT_PROFILED)
    write_batch(plain_database, batch([watch(42, 1)]), parser, reader)
    mark(plain_database, "42", mark=NOT_PROFILED, marked=False)
    write_batch(plain_database, batch([watch(42, 2)], 1), parser, reader)
    assert rows(plain_database, "SELECT minute FROM watches") == [(2,)]


@pytest.mark.parametrize("key", ["", "another key of thirty-two letters"])
def test_write_batch_missing_or_other_key_raises_and_writes_nothing(
    plain_database: Database, parser: EventParser, key: str
) -> None:
    """A writer that cannot recognize the marked users writes nothing, and no mark is made with another key."""
    mark(plain_database, "42")
    with pytest.raises(PrivacyKeyWrong, match="MARQUEE_PRIVACY_KEY"):
        write_batch(plain_database, batch([watch(7, 1)]), parser, MarkReader(key))
    with pytest.raises(PrivacyKeyWrong), plain_database.transaction() as cursor:
        change_mark(cursor, key, ["8"], FORGOTTEN)
    assert rows(plain_database, "SELECT count(*) FROM watches") == [(0,)]


def test_change_mark_waits_for_writers_under_way(plain_database: Database) -> None:
    """Every writer that did not know the mark has ended when it is committed."""
    reader, order = MarkReader(KEY), list[str]()

    def change() -> None:
        mark(plain_database, "42")
        order.append("marked")

    changing = threading.Thread(target=change)
    with plain_database.transaction() as cursor:
        assert not reader.load(cursor)
        changing.start()
        changing.join(0.2)
        order.append("written")
    changing.join()
    assert order == ["written", "marked"]
    with plain_database.transaction() as cursor:
        assert reader.load(cursor).holds("42")


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (watch(42, 1), {"42"}),
        ("2026-02-14T00:09:20,42", {"42"}),
        ('{"user_id": "a b", "type": "click"}', {"a b"}),
        ('{"user": 42}', {"42"}),
        ('{"user_id": "\\u0034\\u0032"', {"42"}),
        ("no user", set()),
    ],
)
def test_find_user_ids_in_records_of_any_form(raw: str, found: set[str]) -> None:
    """The id is found where a record has it, well-formed or not."""
    assert find_user_ids(raw.encode()) >= found
    assert not found or find_user_ids(b"\xff" + json.dumps({"text": raw}).encode()) >= found
