"""Tests of the tables under TimescaleDB's policies, which the tests run themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest
from tests.support.records import ask, batch, rate, rows, watch

from marquee.db import record_counts
from marquee.db.pool import Database
from marquee.events.batches import StreamBatch
from marquee.events.parser import EventParser
from marquee.ingest.store import WriteCounts, write_batch

pytestmark = pytest.mark.servers


@pytest.fixture
def database(timescale_url: str) -> Iterator[Database]:
    with closing(Database(timescale_url, copies=False)) as database:
        yield database


def run_policies(database: Database, policy: str, table: str = "%") -> None:
    """Run the policies of this kind now, as the scheduler would."""
    query = "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = %s AND hypertable_name LIKE %s"
    for (job,) in rows(database, query, policy, table):
        execute_without_transaction(database, f"CALL run_job({job})")


def refresh(database: Database, aggregate: str, until: str) -> None:
    """Refresh an aggregate as its policy would; as a job it hangs without background workers."""
    execute_without_transaction(
        database, f"CALL refresh_continuous_aggregate('{aggregate}', NULL, now() - INTERVAL '{until}')"
    )


def execute_without_transaction(database: Database, command: str) -> None:
    """Execute a command that cannot run in a transaction."""
    with closing(psycopg2.connect(database.url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(command)


def ago(**age: float) -> str:
    """Return the time of a record this long ago."""
    return (datetime.now(UTC) - timedelta(**age)).strftime("%Y-%m-%dT%H:%M:%S")


def old_batch(**age: float) -> StreamBatch:
    """Return a batch of 50 watches and a rating of this age."""
    return batch([watch(n, n, time=ago(**age)) for n in range(50)] + [rate(1, 3, time=ago(**age))])


def count_compressed_chunks(database: Database) -> int:
    """Return the number of compressed chunks of watches."""
    query = "SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_name = 'watches' AND is_compressed"
    return int(str(rows(database, query)[0][0]))


def test_write_batch_after_compression_skips_redelivered_records(database: Database, parser: EventParser) -> None:
    """A redelivered record is recognized in a compressed chunk."""
    old = old_batch(days=4)
    write_batch(database, old, parser)
    before = record_counts.count_records(database)
    run_policies(database, "policy_compression")
    assert count_compressed_chunks(database) > 0
    assert write_batch(database, old, parser) == WriteCounts()
    assert record_counts.count_records(database) == before


def test_write_batch_late_record_is_stored_in_compressed_chunk(database: Database, parser: EventParser) -> None:
    """A late record is inserted into a chunk that is already compressed."""
    write_batch(database, old_batch(days=4), parser)
    run_policies(database, "policy_compression")
    late = batch([watch(99, 9, time=ago(days=4))], first=1_000)
    assert write_batch(database, late, parser) == WriteCounts(watches=1)
    assert record_counts.count_records(database).by_table["watches"] == 51


def test_retention_drops_watches_and_keeps_aggregates(database: Database, parser: EventParser) -> None:
    """Watch sessions, ratings and counts per minute outlive the dropped rows."""
    write_batch(database, old_batch(days=2), parser)
    refresh(database, "watches_per_minute", "1 day")
    execute_without_transaction(database, "SELECT drop_chunks('watches', older_than => now() - INTERVAL '1 hour')")
    assert rows(database, "SELECT count(*) FROM watches WHERE time < now() - INTERVAL '1 day'") == [(0,)]
    assert rows(database, "SELECT count(*) FROM watch_sessions") == [(50,)]
    assert rows(database, "SELECT count(*) FROM ratings") == [(1,)]
    assert rows(database, "SELECT sum(records)::int FROM watches_per_minute") == [(50,)]


def test_retention_keeps_young_rows(database: Database, parser: EventParser) -> None:
    """Only rows older than the term are dropped; the running totals still count them."""
    write_batch(database, old_batch(days=30), parser)
    write_batch(database, batch([watch(1, 1, time=ago(days=1))], first=500), parser)
    run_policies(database, "policy_retention", "watches")
    assert record_counts.count_records(database).by_table["watches"] == 1
    assert record_counts.count_all(database).by_table["watches"] == 51


def test_aggregates_count_refreshed_and_new_rows_once(database: Database, parser: EventParser) -> None:
    """No minute is in both parts of an aggregate or in neither."""
    write_batch(database, old_batch(hours=5), parser)
    for (aggregate,) in rows(database, "SELECT view_name FROM timescaledb_information.continuous_aggregates"):
        refresh(database, str(aggregate), "1 hour")
    write_batch(database, batch([watch(1, 1, time=ago(minutes=1)), ask(1, 200, "")], first=500), parser)
    assert rows(database, "SELECT sum(records)::int FROM watches_per_minute") == [(51,)]
    assert rows(database, "SELECT sum(records)::int FROM movie_watches_per_hour") == [(51,)]
    assert rows(database, "SELECT sum(records)::int FROM records_per_minute WHERE kind = 'watch'") == [(51,)]
