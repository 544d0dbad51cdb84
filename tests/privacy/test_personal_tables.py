"""Rows of a user: found in every table from the schema, exported, deleted, and limited in time."""

from __future__ import annotations

from tests.privacy.held_data import FORGET, KEEP, KEY, write_held_data
from tests.support.records import batch, rate, rows, watch

from marquee.db import record_counts
from marquee.db.pool import Database
from marquee.db.privacy_marks import MarkReader
from marquee.events.kinds import DROPPED
from marquee.events.parser import EventParser
from marquee.ingest.retention_terms import delete_expired_rows
from marquee.ingest.store import write_batch
from marquee.privacy import forget_journal, personal_tables

_POLICIES = """
SELECT hypertable_name::text, config ->> 'drop_after' FROM timescaledb_information.jobs
WHERE proc_name = 'policy_retention'"""


def test_delete_rows_leaves_none_of_the_user_in_any_table(database: Database, parser: EventParser) -> None:
    """Every table with a user id had a row and has none; the other user keeps theirs; counts stay exact."""
    write_held_data(database, parser)
    expected = {*personal_tables.find_personal_tables(database), "quarantine", "rejected_events"}
    assert len(expected) > 15
    assert personal_tables.count_rows(database, [FORGET]).keys() == expected
    kept = personal_tables.count_rows(database, [KEEP])
    before = record_counts.count_records(database)
    forget_journal.open_requests(database, KEY, [FORGET])
    personal_tables.delete_rows(database, [FORGET])
    assert personal_tables.count_rows(database, [FORGET]) == {}
    assert personal_tables.count_rows(database, [KEEP]) == kept
    after = record_counts.count_records(database)
    assert after.records == before.records
    (request,) = forget_journal.list_open(database)
    assert request.counts.keys() == expected
    assert after.by_table[DROPPED] == 7  # Five records of the log, and the rows of the two other kinds.
    write_batch(database, batch([watch(42, 1), rate(42, 5)]), parser, MarkReader(KEY))
    assert record_counts.count_records(database) == after


def test_delete_rows_knows_a_new_table(plain_database: Database) -> None:
    """A table that gets a column user_id is found without a change of the program."""
    with plain_database.transaction() as cursor:
        cursor.execute("CREATE TABLE moods (user_id text, mood text); INSERT INTO moods VALUES ('42', 'x'), ('7', 'y')")
    assert "moods" in personal_tables.find_personal_tables(plain_database)
    assert personal_tables.export_rows(plain_database, ["42"])["moods"] == [{"user_id": "42", "mood": "x"}]
    personal_tables.delete_rows(plain_database, ["42"])
    assert rows(plain_database, "SELECT user_id FROM moods") == [("7",)]


def test_export_rows_has_every_row_of_the_user_alone(plain_database: Database, parser: EventParser) -> None:
    """The export has each table, with the rows of the user alone."""
    write_held_data(plain_database, parser)
    exported = personal_tables.export_rows(plain_database, [FORGET])
    assert {table for table, found in exported.items() if found} == exported.keys()
    named = {row["user_id"] for found in exported.values() for row in found if "user_id" in row}
    assert named == {FORGET}
    assert exported["ratings"][0]["movie_id"] == "fight+club+1999"
    assert exported["quarantine"] == [{"raw": "?,42,malformed"}]


def test_every_table_with_user_ids_has_a_retention_term(database: Database, kind: str) -> None:
    """No table keeps a user id for ever: a term or a policy deletes the row, and so do those of malformed records."""
    limited = {str(table) for (table,) in rows(database, "SELECT table_name FROM retention_terms")}
    if kind == "timescale":
        limited |= {str(table) for table, _ in rows(database, _POLICIES)}
    personal = {*personal_tables.find_personal_tables(database), "quarantine", "rejected_events", "forget_requests"}
    assert personal - limited == set()


def test_delete_expired_rows_deletes_old_ratings_sessions_and_accounts(
    plain_database: Database, parser: EventParser
) -> None:
    """Rows past their term go, newer ones stay, on plain PostgreSQL."""
    write_held_data(plain_database, parser)
    old = "now() - INTERVAL '1096 days'"
    with plain_database.transaction() as cursor:
        cursor.execute(f"UPDATE ratings SET time = {old} WHERE user_id = '42'")
        cursor.execute(f"UPDATE accounts SET time = {old} WHERE user_id = '42'")
        cursor.execute(f"UPDATE watch_sessions SET ended = {old} WHERE user_id = '42'")
    delete_expired_rows(plain_database)
    for table in ("ratings", "accounts", "watch_sessions"):
        assert rows(plain_database, f"SELECT DISTINCT user_id FROM {table}") == [("7",)], table
