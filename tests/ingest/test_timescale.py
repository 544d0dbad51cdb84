"""What TimescaleDB's policies do to the tables, run here by hand, changes none of the promises."""

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
        outside_transaction(database, f"CALL run_job({job})")


def refresh(database: Database, aggregate: str, until: str) -> None:
    """What the refresh policy does; run as a job it stalls where there are no background workers."""
    outside_transaction(
        database, f"CALL refresh_continuous_aggregate('{aggregate}', NULL, now() - INTERVAL '{until}')"
    )


def outside_transaction(database: Database, command: str) -> None:
    with closing(psycopg2.connect(database.url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(command)


def ago(**age: float) -> str:
    return (datetime.now(UTC) - timedelta(**age)).strftime("%Y-%m-%dT%H:%M:%S")


def old_lines(**age: float) -> StreamBatch:
    return batch([watch(n, n, time=ago(**age)) for n in range(50)] + [rate(1, 3, time=ago(**age))])


def compressed_chunks(database: Database) -> int:
    query = "SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_name = 'watches' AND is_compressed"
    return int(str(rows(database, query)[0][0]))


def test_line_that_comes_again_after_compression_is_not_doubled(
    database: Database, parser: EventParser
) -> None:
    lines = old_lines(days=4)
    write_batch(database, lines, parser)
    before = record_counts.count_records(database)
    run_policies(database, "policy_compression")
    assert compressed_chunks(database) > 0
    assert write_batch(database, lines, parser) == WriteCounts()
    assert record_counts.count_records(database) == before


def test_line_that_comes_late_is_written_into_a_compressed_chunk(
    database: Database, parser: EventParser
) -> None:
    write_batch(database, old_lines(days=4), parser)
    run_policies(database, "policy_compression")
    late = batch([watch(99, 9, time=ago(days=4))], first=1_000)
    assert write_batch(database, late, parser) == WriteCounts(watches=1)
    assert record_counts.count_records(database).by_table["watches"] == 51


def test_raw_watches_go_and_what_was_made_of_them_stays(database: Database, parser: EventParser) -> None:
    """After their term the rows are dropped; watch sessions, ratings and the rates by the minute are still there."""
    write_batch(database, old_lines(days=2), parser)
    refresh(database, "watches_per_minute", "1 day")
    outside_transaction(database, "SELECT drop_chunks('watches', older_than => now() - INTERVAL '1 hour')")
    assert rows(database, "SELECT count(*) FROM watches WHERE time < now() - INTERVAL '1 day'") == [(0,)]
    assert rows(database, "SELECT count(*) FROM watch_sessions") == [(50,)]
    assert rows(database, "SELECT count(*) FROM ratings") == [(1,)]
    assert rows(database, "SELECT sum(records)::int FROM watches_per_minute") == [(50,)]


def test_retention_spares_the_young(database: Database, parser: EventParser) -> None:
    write_batch(database, old_lines(days=30), parser)
    write_batch(database, batch([watch(1, 1, time=ago(days=1))], first=500), parser)
    run_policies(database, "policy_retention", "watches")
    assert record_counts.count_records(database).by_table["watches"] == 1
    assert record_counts.count_all(database).by_table["watches"] == 51


def test_refreshed_and_fresh_rows_are_counted_once(database: Database, parser: EventParser) -> None:
    """An aggregate is what was refreshed and what came since, with no minute in both or in neither."""
    write_batch(database, old_lines(hours=5), parser)
    for (aggregate,) in rows(database, "SELECT view_name FROM timescaledb_information.continuous_aggregates"):
        refresh(database, str(aggregate), "1 hour")
    write_batch(database, batch([watch(1, 1, time=ago(minutes=1)), ask(1, 200, "")], first=500), parser)
    assert rows(database, "SELECT sum(records)::int FROM watches_per_minute") == [(51,)]
    assert rows(database, "SELECT sum(records)::int FROM movie_watches_per_hour") == [(51,)]
    assert rows(database, "SELECT sum(records)::int FROM records_per_minute WHERE kind = 'watch'") == [(51,)]
