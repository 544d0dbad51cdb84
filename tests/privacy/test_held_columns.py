"""Columns and fields that could hold a user id: each is covered by an erasure, or listed as one that names no user."""

from __future__ import annotations

from pathlib import Path

from tests.support.records import rows

from marquee.app.document_schema import collection_schemas
from marquee.app.user_documents import OF_USER
from marquee.db.pool import Database

LISTED = Path(__file__).with_name("columns_without_users.txt")
"""Columns of text, JSON or bytes that name no user, and those that an erasure treats in a way of its own."""
_COLUMNS = """
SELECT c.relname::text, string_agg(a.attname, ' ' ORDER BY a.attname)
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
WHERE c.relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('public', 'rollups'))
  AND c.relkind IN ('r', 'p')
  AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> 'user_id'
  AND format_type(a.atttypid, NULL) IN ('text', 'text[]', 'json', 'jsonb', 'bytea', 'character varying', 'uuid', 'name')
GROUP BY 1 ORDER BY 1"""
FIELDS = {
    "devices": "_id made seen user_id",
    "join_codes": "_id made user_id",
    "profiles": "_id consent list made personal",  # The user is _id.
    "positions": "_id at minute movie_id user_id",  # _id begins with the user, and goes with the document.
    "movies": "title",
    "events": "_id app at movie name position props received recommendation screen seq session user_id",
    "limits": "_id expire times",  # _id is a hash of the user; it expires within a day.
    "withdrawals": "_id at",  # The user is _id; the monitor deletes the document.
}
"""Fields of each collection of the app. Those with a field ``user_id`` are in ``OF_USER``."""


def read_columns(database: Database) -> list[str]:
    return [f"{table}: {columns}" for table, columns in rows(database, _COLUMNS)]


def test_columns_that_could_hold_users_are_listed(plain_database: Database) -> None:
    """A new column of text, JSON or bytes fails: name it user_id, or say in the file that it names no user."""
    assert read_columns(plain_database) == LISTED.read_text().splitlines()


def test_columns_new_one_is_not_listed(plain_database: Database) -> None:
    """A column with user ids of another name is noticed, in a new table as in an old one."""
    with plain_database.transaction() as cursor:
        cursor.execute("ALTER TABLE retrain_runs ADD COLUMN viewer text; CREATE TABLE moods (viewer text)")
    new = set(read_columns(plain_database)) - set(LISTED.read_text().splitlines())
    assert {line.split(":")[0] for line in new} == {"moods", "retrain_runs"}
    assert all("viewer" in line for line in new)


def test_fields_of_documents_are_listed_and_those_of_users_erased() -> None:
    """A new collection or field fails until it is listed here, and one with user_id until an erasure deletes it."""
    found = {
        schema.name: " ".join(sorted(schema.validator["properties"], key=lambda name: (name != "_id", name)))
        for schema in collection_schemas(90)
    }
    assert found == FIELDS
    assert {name for name, fields in FIELDS.items() if "user_id" in fields.split()} == set(OF_USER)
