"""Every line exactly once: the account tells what is missing and what is there twice."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import pytest

from marquee.db.pool import Database
from marquee.local.reconciliation import Reconciliation, drained, reconcile
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
    """Two incarnations of a topic; the older one holds the same offsets and does not count."""
    with closing(Database(database_url)) as database:
        with database.transaction() as cursor:
            cursor.execute("INSERT INTO topics (topic, topic_id) VALUES ('log', 'old'), ('log', 'new')")
        for offset in range(10):
            write(database, "watches", 1, 0, offset)
        yield database


def write(database: Database, table: str, topic_key: int, partition: int, offset: int) -> None:
    with database.transaction() as cursor:
        cursor.execute(
            f"INSERT INTO {table} VALUES (%s, %s, %s, %s, {TABLES[table]})",
            (NOW, topic_key, partition, offset),
        )


def fill(database: Database) -> dict[str, PartitionReport]:
    """Ten lines of partition 0 and five of partition 1, in the five tables in turn."""
    for partition, count in ((0, 10), (1, 5)):
        for offset in range(count):
            write(database, list(TABLES)[offset % 5], 2, partition, offset)
    return {"0": PartitionReport(0, 9, 10), "1": PartitionReport(0, 4, 5)}


def figures(found: Reconciliation) -> tuple[int, int, int, int]:
    return found.acknowledged, found.rows, found.lost, found.doubled


def test_all_there(database: Database) -> None:
    """Each line in one table or another: exact."""
    found = reconcile(database, "log", fill(database))
    assert figures(found) == (15, 15, 0, 0)
    assert found.exact


def test_lost(database: Database) -> None:
    """A line that Kafka has and no table."""
    partitions = fill(database)
    with database.transaction() as cursor:
        cursor.execute("DELETE FROM ratings WHERE partition = 1 AND topic_key = 2")
    found = reconcile(database, "log", partitions)
    assert figures(found) == (15, 14, 1, 0)
    assert not found.exact


def test_doubled_in_two_tables(database: Database) -> None:
    """The same offset as a rating and in quarantine."""
    partitions = fill(database)
    write(database, "quarantine", 2, 0, 1)
    assert figures(reconcile(database, "log", partitions)) == (15, 16, 0, 1)


def test_doubled_in_kafka(database: Database) -> None:
    """More offsets between the first and the last than lines acknowledged: one was written twice."""
    partitions = fill(database)
    partitions["0"] = PartitionReport(0, 9, 9)
    assert figures(reconcile(database, "log", partitions)) == (14, 15, 0, 1)


def test_only_this_run_counts(database: Database) -> None:
    """Lines of an earlier run, before the first offset, are no business of this one's."""
    fill(database)
    assert figures(reconcile(database, "log", {"0": PartitionReport(6, 9, 4)})) == (4, 4, 0, 0)


def test_nothing_produced(database: Database) -> None:
    """No line, no fault."""
    assert figures(reconcile(database, "log", {})) == (0, 0, 0, 0)


def test_waits_for_the_last_lines(database: Database) -> None:
    """What is under way is waited for; what does not come is lost after the patience."""
    import threading

    partitions = fill(database)
    partitions["1"] = PartitionReport(0, 5, 6)
    assert figures(drained(database, "log", partitions, 0.3)) == (16, 15, 1, 0)
    with closing(Database(database.url)) as other:
        late = threading.Timer(0.5, write, (other, "watches", 2, 1, 5))
        late.start()
        assert figures(drained(database, "log", partitions)) == (16, 16, 0, 0)
        late.join()
