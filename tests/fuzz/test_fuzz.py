"""A short run of ``make fuzz``."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from tests.fuzz.mutation import mutated_records
from tests.fuzz.targets import BATCH_SIZE, create_ingest, parse_mutated, send_requests

from marquee.data.sources import read_database
from marquee.db.pool import Database
from marquee.events.batches import StreamBatch, make_record
from marquee.events.parser import EventParser
from marquee.ingest.store import write_batch

SEEDS = range(5)


@pytest.mark.parametrize("seed", SEEDS)
def test_parse_records_mutated_records_are_parsed_once(seed: int) -> None:
    """As an event or as malformed, and the fast path agrees with the parser."""
    assert 0 < parse_mutated(seed) < BATCH_SIZE


@pytest.mark.servers
def test_ingest_malformed_requests_are_acknowledged(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No exception and no 5xx: 204, stored in quarantine or in rejected_events."""
    monkeypatch.setenv("MARQUEE_DATABASE_URL", database_url)
    app = create_ingest()
    for seed in SEEDS:
        send_requests(app, seed, 200)


_ODD_TIMES = (
    "0001-01-01T00:00",
    "1022-11-14T12:24",
    "1601-01-01T00:00",
    "1677-09-21T00:12:43",
    "1969-12-31T23:59:59",
    "1970-01-01T00:00",
    "2262-04-12T00:00",
    "9022-11-14T12:24",
    "9999-12-31T23:59:59.999999",
)


@pytest.mark.servers
def test_read_database_reads_whatever_was_stored(database_url: str) -> None:
    """A retraining reads every stored row: of mutated records, and of times from all of the calendar."""
    requests = ("GET /data/m/film+1+1990/7.mpg", "GET /rate/film+1+1990=5")
    odd = [f"{moment},7,{request}".encode() for moment in _ODD_TIMES for request in requests]
    with closing(Database(database_url)) as database:
        for number, zone in enumerate(("UTC", "America/New_York", "Asia/Kolkata")):
            raws = [*odd, *mutated_records(BATCH_SIZE, number)]
            records = tuple(make_record(offset, -1, raw) for offset, raw in enumerate(raws))
            batch = StreamBatch("movielog", f"fuzz-{zone}", 0, records)
            assert write_batch(database, batch, EventParser(ZoneInfo(zone))).records == len(raws)
        source = read_database(database, datetime.max.replace(tzinfo=UTC))
        with database.transaction() as cursor:
            cursor.execute("SELECT (SELECT count(*) FROM ratings), (SELECT count(*) FROM watch_sessions)")
            assert cursor.fetchone() == (len(source.ratings), len(source.watch_sessions))
    times = [*source.ratings["time"], *source.watch_sessions["time"]]
    assert min(times) >= 0
    assert max(times) <= (datetime.now(UTC) + timedelta(days=1)).timestamp() * 1_000_000
