"""Tests of the quarantine: listing, and replay that moves each record once, even if repeated or concurrent."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from tests.support.records import MOVIE, account, ask, batch, rate, rows, watch
from tests.support.stub_parser import UNSTORABLE_EVENTS, StubParser

from marquee.cli.main import main
from marquee.db import record_counts
from marquee.db.pool import Database
from marquee.events.log_scale import LogScale
from marquee.events.parser import EventParser
from marquee.ingest import quarantine
from marquee.ingest.quarantine import ReplayResult, Selection
from marquee.ingest.store import WriteCounts, write_batch

PREFIXED = [watch(1, 3), rate(1, 4), ask(1, 200, MOVIE), account(2)]
RECORDS: list[str | bytes] = [
    "?" + PREFIXED[0],
    watch(1, 5),
    "?" + PREFIXED[1],
    "nonsense",
    "?" + PREFIXED[2],
    b"\xff",
    "?" + PREFIXED[3],
]


FIXED = StubParser(ignored_prefix="?")
"""A newer parser, which accepts records after a question mark."""


def test_replay_moves_records_that_are_events_now(database: Database, parser: EventParser) -> None:
    """They reach their table, watch session and running totals; the rest stays in quarantine."""
    write_batch(database, batch(RECORDS, 10), parser)
    moved = {"watches": 1, "ratings": 1, "recommendation_requests": 1, "accounts": 1}
    assert quarantine.replay_records(database, Selection(), FIXED) == ReplayResult(moved, 2)
    counts = record_counts.count_records(database)
    assert counts.records == len(RECORDS)
    assert counts == record_counts.count_all(database)
    assert rows(database, 'SELECT "offset", category FROM quarantine ORDER BY 1') == [
        (13, "time"),
        (15, "encoding"),
    ]
    assert rows(database, 'SELECT "offset", minute FROM watches ORDER BY 1') == [(10, 3), (11, 5)]
    assert rows(database, "SELECT first_minute, last_minute FROM watch_sessions") == [(3, 5)]


def test_replay_repeated_or_redelivered_changes_nothing(database: Database, parser: EventParser) -> None:
    """A second replay moves nothing, and a redelivery inserts nothing."""
    write_batch(database, batch(RECORDS), parser)
    quarantine.replay_records(database, Selection(), FIXED)
    before = record_counts.count_records(database)
    assert quarantine.replay_records(database, Selection(), FIXED) == ReplayResult({}, 2)
    assert write_batch(database, batch(RECORDS), FIXED) == WriteCounts()
    assert record_counts.count_records(database) == before


def test_selection_filters_by_category_and_time(database: Database, parser: EventParser) -> None:
    """Of Kafka's times, the lower bound is included and the upper is not."""
    write_batch(database, batch(["", "x", "", "2026-02-14T00:09,1,GET /rate/a+=9"]), parser)
    times = [datetime.fromtimestamp(1_790_000_000 + n / 1000, UTC) for n in range(4)]
    found = quarantine.count_categories(database, Selection())
    assert [(row.category, row.records) for row in found] == [("empty", 2), ("rating", 1), ("time", 1)]
    assert [record.offset for record in quarantine.list_newest(database, Selection("empty"), 9)] == [2, 0]
    between = Selection(since=times[1], until=times[3])
    assert [record.offset for record in quarantine.list_newest(database, between, 9)] == [2, 1]
    parser = EventParser(ZoneInfo("UTC"), LogScale(1, 10))
    assert quarantine.replay_records(database, Selection("rating"), parser).remaining == 0
    assert [record.offset for record in quarantine.list_newest(database, Selection(), 2)] == [2, 1]


def test_replay_unstorable_event_stays_in_quarantine(database: Database, parser: EventParser) -> None:
    """The other records of its chunk move."""
    write_batch(database, batch(RECORDS), parser)
    faulty = StubParser({"nonsense": UNSTORABLE_EVENTS["nul"]}, ignored_prefix="?")
    result = quarantine.replay_records(database, Selection(), faulty)
    assert sum(result.moved.values()) == 4
    assert record_counts.count_records(database) == record_counts.count_all(database)
    assert record_counts.count_records(database).quarantined == 2


@pytest.mark.servers
def test_replay_concurrent_with_redelivery_moves_each_record_once(
    plain_database: Database, parser: EventParser
) -> None:
    """Two replays and two redeliveries run at the same time, over several chunks."""
    records = ["?" + watch(user % 50, user % 90) for user in range(3_000)]
    write_batch(plain_database, batch(records), parser)
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            if number % 2:
                write_batch(plain_database, batch(records), FIXED)
            else:
                quarantine.replay_records(plain_database, Selection(), FIXED)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    counts = record_counts.count_records(plain_database)
    assert (counts.by_table["watches"], counts.quarantined) == (3_000, 0)
    assert counts == record_counts.count_all(plain_database)


@pytest.mark.servers
def test_quarantine_command_lists_shows_and_replays(
    database_url: str,
    parser: EventParser,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`marquee quarantine` prints text and JSON."""
    monkeypatch.setenv("MARQUEE_DATABASE_URL", database_url)
    monkeypatch.setenv("MARQUEE_RATING_SCALE", "1-10")
    assert main(["quarantine", "list"]) == 0
    write_batch(Database(database_url), batch([rate(1, 4), "2026-02-14T00:09,1,GET /rate/a+=9"]), parser)
    assert main(["quarantine", "list", "--since", "2020-01-01"]) == 0
    assert main(["quarantine", "show", "--category", "rating", "--limit", "1"]) == 0
    assert main(["quarantine", "replay", "--until", "2099-01-01T00:00:00+00:00"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("nothing is in quarantine\nCATEGORY ")
    assert "movielog/0/1 2026-09-21 14:13:20 rating\n" in out
    assert "b'2026-02-14T00:09,1,GET /rate/a+=9'" in out
    assert out.endswith("moved: 1 to ratings; still not readable: 0\n")
    assert main(["quarantine", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    with pytest.raises(SystemExit):
        main(["quarantine", "list", "--since", "yesterday"])
    assert "is not a time in ISO 8601" in capsys.readouterr().err
