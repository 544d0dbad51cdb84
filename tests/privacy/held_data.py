"""Rows of a user in every table that can hold them, whatever tables there are."""

from __future__ import annotations

import itertools
from typing import Any

from tests.support.records import account, ask, batch, rate, watch

from marquee.db.pool import Database
from marquee.events.parser import RecordParser
from marquee.ingest.store import store_rejected, write_batch
from marquee.privacy.personal_tables import find_personal_tables

KEY = "k" * 32
FORGET, KEEP = "42", "7"

_COLUMNS = """
SELECT attname::text, format_type(atttypid, NULL) FROM pg_attribute
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attidentity = '' AND attname <> 'user_id'"""

_VALUES = {
    "text[]": "'{}'",
    "jsonb": "'[]'",
    "boolean": "false",
    "timestamp with time zone": "now()",
}
_CHECKS = "SELECT conname::text FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'c'"
_numbers = itertools.count(1_000_000)


def write_held_data(database: Database, parser: RecordParser) -> None:
    """Write records of both users through ingestion, then a row of each into every other table with user ids."""
    records = [
        line
        for user in (int(FORGET), int(KEEP))
        for line in (watch(user, 1), rate(user, 5), ask(user, 200, "up+2009"), account(user), f"?,{user},malformed")
    ]
    write_batch(database, batch(records), parser)
    for user in (FORGET, KEEP):
        store_rejected(database, "?", {}, f'{{"user_id": "{user}"'.encode())
        for table in find_personal_tables(database):
            with database.transaction() as cursor:
                cursor.execute(f"SELECT EXISTS (SELECT FROM {table} WHERE user_id = %s)", (user,))
                if not cursor.fetchone()[0]:
                    insert_row(cursor, table, user)


def insert_row(cursor: Any, table: str, user: str) -> None:
    """Insert a row of ``user`` with any values in the other columns, without the table's checks of them."""
    cursor.execute(_CHECKS, (table,))
    for (name,) in cursor.fetchall():
        cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    cursor.execute(_COLUMNS, (table,))
    columns = dict(cursor.fetchall())
    number = next(_numbers)
    values = []
    for kind in columns.values():
        default = f"'{number}'" if kind == "text" else str(number % 30_000 if kind == "smallint" else number)
        values.append(_VALUES.get(kind, default))
    names = ", ".join(f'"{name}"' for name in ("user_id", *columns))
    cursor.execute(f"INSERT INTO {table} ({names}) VALUES (%s, {', '.join(values)})", (user,))
