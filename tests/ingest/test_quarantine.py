"""Quarantine looked at, and replayed after a parser's fix: each line once, however often and however many do it."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from tests.support.records import MOVIE, account, ask, batch, rate, rows, watch

from marquee.cli.main import main
from marquee.db import record_counts
from marquee.db.pool import Database
from marquee.events.kinds import Event, MalformedRecord, RecommendationRequest
from marquee.events.parser import EventParser
from marquee.ingest import quarantine
from marquee.ingest.quarantine import ReplayResult, Selection
from marquee.ingest.store import WriteCounts, write_batch

HIDDEN = [watch(1, 3), rate(1, 4), ask(1, 200, MOVIE), account(2)]
LINES: list[str | bytes] = [
    "?" + HIDDEN[0],
    watch(1, 5),
    "?" + HIDDEN[1],
    "nonsense",
    "?" + HIDDEN[2],
    b"\xff",
    "?" + HIDDEN[3],
]


class FixedParser(EventParser):
    """Reads lines behind a question mark, which the one before it did not."""

    def parse(self, text: str) -> Event | MalformedRecord:
        return super().parse(text.removeprefix("?"))


FIXED = FixedParser(ZoneInfo("UTC"), 5)


def test_replay_moves_what_can_be_read_now(database: Database, parser: EventParser) -> None:
    """To its table, its watch session and the running totals; the rest stays as it was."""
    write_batch(database, batch(LINES, 10), parser)
    moved = {"watches": 1, "ratings": 1, "recommendation_requests": 1, "accounts": 1}
    assert quarantine.replay(database, Selection(), FIXED) == ReplayResult(moved, 2)
    counts = record_counts.count_records(database)
    assert counts.records == len(LINES)
    assert counts == record_counts.count_all(database)
    assert rows(database, 'SELECT "offset", category FROM quarantine ORDER BY 1') == [
        (13, "time"),
        (15, "encoding"),
    ]
    assert rows(database, 'SELECT "offset", minute FROM watches ORDER BY 1') == [(10, 3), (11, 5)]
    assert rows(database, "SELECT first_minute, last_minute FROM watch_sessions") == [(3, 5)]


def test_replay_and_redelivery_change_nothing_more(database: Database, parser: EventParser) -> None:
    write_batch(database, batch(LINES), parser)
    quarantine.replay(database, Selection(), FIXED)
    before = record_counts.count_records(database)
    assert quarantine.replay(database, Selection(), FIXED) == ReplayResult({}, 2)
    assert write_batch(database, batch(LINES), FIXED) == WriteCounts()
    assert record_counts.count_records(database) == before


def test_selection_is_by_category_and_time(database: Database, parser: EventParser) -> None:
    """Of Kafka's times the first is included and the last is not."""
    write_batch(database, batch(["", "x", "", "2026-02-14T00:09,1,GET /rate/a+=9"]), parser)
    times = [datetime.fromtimestamp(1_790_000_000 + n / 1000, UTC) for n in range(4)]
    found = quarantine.categories(database, Selection())
    assert [(row.category, row.records) for row in found] == [("empty", 2), ("rating", 1), ("time", 1)]
    assert [line.offset for line in quarantine.newest(database, Selection("empty"), 9)] == [2, 0]
    between = Selection(since=times[1], until=times[3])
    assert [line.offset for line in quarantine.newest(database, between, 9)] == [2, 1]
    assert quarantine.replay(database, Selection("rating"), EventParser(ZoneInfo("UTC"), 10)).remaining == 0
    assert [line.offset for line in quarantine.newest(database, Selection(), 2)] == [2, 1]


class CarelessParser(FixedParser):
    """Reads one line as something that no table can hold."""

    def parse(self, text: str) -> Event | MalformedRecord:
        if text == "nonsense":
            return RecommendationRequest(datetime.now(UTC), "1", "a:1", 500, (), "\0", 1)
        return super().parse(text)


def test_line_that_no_table_can_hold_stays(database: Database, parser: EventParser) -> None:
    write_batch(database, batch(LINES), parser)
    result = quarantine.replay(database, Selection(), CarelessParser(ZoneInfo("UTC"), 5))
    assert sum(result.moved.values()) == 4
    assert record_counts.count_records(database) == record_counts.count_all(database)
    assert record_counts.count_records(database).quarantined == 2


@pytest.mark.servers
def test_replays_at_once_and_redeliveries_move_each_line_once(
    plain_database: Database, parser: EventParser
) -> None:
    """Two that replay and two that deliver again, all at the same time, in several chunks."""
    lines = ["?" + watch(user % 50, user % 90) for user in range(3_000)]
    write_batch(plain_database, batch(lines), parser)
    failures: list[BaseException] = []

    def run(what: int) -> None:
        try:
            if what % 2:
                write_batch(plain_database, batch(lines), FIXED)
            else:
                quarantine.replay(plain_database, Selection(), FIXED)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=[what]) for what in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    counts = record_counts.count_records(plain_database)
    assert (counts.by_table["watches"], counts.quarantined) == (3_000, 0)
    assert counts == record_counts.count_all(plain_database)


@pytest.mark.servers
def test_command_lists_shows_and_replays(
    database_url: str,
    parser: EventParser,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`marquee quarantine`, in text and in JSON."""
    monkeypatch.setenv("MARQUEE_DATABASE_URL", database_url)
    monkeypatch.setenv("MARQUEE_RATING_MAX", "10")
    assert main(["quarantine", "list"]) == 0
    write_batch(Database(database_url), batch([rate(1, 4), "2026-02-14T00:09,1,GET /rate/a+=9"]), parser)
    assert main(["quarantine", "list", "--since", "2020-01-01"]) == 0
    assert main(["quarantine", "show", "--category", "rating", "--limit", "1"]) == 0
    assert main(["quarantine", "replay", "--until", "2099-01-01T00:00:00+00:00"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("nothing is in quarantine\nrating ")
    assert "movielog/0/1 2026-09-21 14:13:20 rating\n" in out
    assert "b'2026-02-14T00:09,1,GET /rate/a+=9'" in out
    assert out.endswith("moved: 1 to ratings; still not readable: 0\n")
    assert main(["quarantine", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    with pytest.raises(SystemExit):
        main(["quarantine", "list", "--since", "yesterday"])
    assert "is not a time in ISO 8601" in capsys.readouterr().err
