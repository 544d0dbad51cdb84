"""Reconciliation: missing and duplicated records."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import pytest

from marquee.db.pool import Database
from marquee.local.reconciliation import (
    PartitionReconciliation,
    Reconciliation,
    reconcile,
    reconcile_when_drained,
)
from marquee.simulate.report import PartitionReport

pytestmark = pytest.mark.servers

NOW = datetime(2026, 1, 5, tzinfo=UTC)
TABLES = {
    "watches": "'u', 'm', 1",
    "ratings": "'u', 'm', 1",
    "recommendation_requests": "'u', 's', 200, '{}', '', 1",
    "accounts": "'u'",
    "quarantine": "'time', '', ''",
}


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database with two topics of one name; the older one has the same offsets and does not count."""
    with closing(Database(database_url)) as database:
        with database.transaction() as cursor:
            cursor.execute("INSERT INTO topics (topic, topic_id) VALUES ('log', 'old'), ('log', 'new')")
        for offset in range(10):
            insert_row(database, "watches", 1, 0, offset)
        yield database


def insert_row(database: Database, table: str, topic_key: int, partition: int, offset: int) -> None:
    with database.transaction() as cursor:
        cursor.execute(
            f"INSERT INTO {table} VALUES (%s, %s, %s, %s, {TABLES[table]})",
            (NOW, topic_key, partition, offset),
        )


def insert_records(database: Database) -> dict[str, PartitionReport]:
    """Insert ten records of partition 0 and five of partition 1, in the five tables in turn."""
    for partition, count in ((0, 10), (1, 5)):
        for offset in range(count):
            insert_row(database, list(TABLES)[offset % 5], 2, partition, offset)
    return {"0": PartitionReport(0, 9, 10), "1": PartitionReport(0, 4, 5)}


def totals(result: Reconciliation) -> tuple[int, int, int, int]:
    return result.acknowledged, result.rows, result.missing, result.duplicated


def test_reconcile_every_record_once_is_exact(database: Database) -> None:
    """Each record is in one of the tables."""
    result = reconcile(database, "new", insert_records(database))
    assert totals(result) == (15, 15, 0, 0)
    assert result.exact


def test_reconcile_record_in_no_table_is_missing(database: Database) -> None:
    """A record that Kafka acknowledged and no table has is missing."""
    partitions = insert_records(database)
    with database.transaction() as cursor:
        cursor.execute("DELETE FROM ratings WHERE partition = 1 AND topic_key = 2")
    result = reconcile(database, "new", partitions)
    assert totals(result) == (15, 14, 1, 0)
    assert not result.exact


def test_reconcile_offset_in_two_tables_is_duplicated(database: Database) -> None:
    """An offset that is a rating and also in quarantine counts as a duplicate."""
    partitions = insert_records(database)
    insert_row(database, "quarantine", 2, 0, 1)
    assert totals(reconcile(database, "new", partitions)) == (15, 16, 0, 1)


def test_reconcile_more_offsets_than_records_is_duplicated(database: Database) -> None:
    """More offsets between first and last than acknowledged records: one is in Kafka twice."""
    partitions = insert_records(database)
    partitions["0"] = PartitionReport(0, 9, 9)
    assert totals(reconcile(database, "new", partitions)) == (14, 15, 0, 1)


def test_reconcile_earlier_run_is_not_counted(database: Database) -> None:
    """Records before the first offset belong to an earlier run."""
    insert_records(database)
    assert totals(reconcile(database, "new", {"0": PartitionReport(6, 9, 4)})) == (4, 4, 0, 0)


def test_reconcile_no_records_is_exact(database: Database) -> None:
    """Without records all totals are zero."""
    assert totals(reconcile(database, "new", {})) == (0, 0, 0, 0)


def test_reconcile_when_drained_waits_for_late_records(database: Database) -> None:
    """Late records are waited for; those that do not arrive in time are missing."""
    partitions = insert_records(database)
    partitions["1"] = PartitionReport(0, 5, 6)
    assert totals(reconcile_when_drained(database, "new", partitions, 0.3)) == (16, 15, 1, 0)
    with closing(Database(database.url)) as other:
        late = threading.Timer(0.5, insert_row, (other, "watches", 2, 1, 5))
        late.start()
        assert totals(reconcile_when_drained(database, "new", partitions)) == (16, 16, 0, 0)
        late.join()


def test_reconcile_records_after_the_last_written_offset_are_unwritten(database: Database) -> None:
    """Kafka still holds them for the bridge: only gaps behind the last written offset are lost."""
    partitions = insert_records(database)
    partitions["1"] = PartitionReport(0, 104, 105)
    result = reconcile(database, "new", partitions)
    assert (result.missing, result.unwritten, result.lost) == (100, 100, 0)
    with database.transaction() as cursor:
        cursor.execute("DELETE FROM ratings WHERE partition = 1 AND topic_key = 2")
    result = reconcile(database, "new", partitions)
    assert (result.missing, result.unwritten, result.lost) == (101, 100, 1)


def test_reconcile_topic_without_a_row_is_unwritten(database: Database) -> None:
    """A topic that nothing was written of is not mistaken for an older topic of its name."""
    result = reconcile(database, "newest", {"0": PartitionReport(0, 9, 10)})
    assert (result.rows, result.unwritten, result.lost) == (0, 10, 0)


def test_reconcile_when_drained_waits_as_long_as_rows_arrive(database: Database) -> None:
    """The time limit is one without progress, so a long backlog is waited for."""
    partitions = insert_records(database)
    partitions["1"] = PartitionReport(0, 9, 10)
    with closing(Database(database.url)) as other:

        def write_slowly() -> None:
            for offset in range(5, 10):
                time.sleep(0.4)
                insert_row(other, "watches", 2, 1, offset)

        writer = threading.Thread(target=write_slowly)
        writer.start()
        assert reconcile_when_drained(database, "new", partitions, 1.2).exact
        writer.join()


def test_add_totals_of_two_topics() -> None:
    """After a hand-over to an empty topic the demo reports the records of both."""
    first = Reconciliation({0: PartitionReconciliation(5, 5, 5)})
    second = Reconciliation({0: PartitionReconciliation(3, 2, 2, 1), 1: PartitionReconciliation(1, 1, 1)})
    total = first + second
    assert (total.acknowledged, total.rows, total.unwritten, total.lost) == (9, 8, 1, 0)
