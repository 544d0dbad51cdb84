"""Change from user ids to pseudonyms in all rows of a database."""

from __future__ import annotations

from typing import Any

from marquee.db import pg_arrays
from marquee.db.pool import Database
from marquee.db.privacy_marks import identify_key, is_pseudonym, lock_marks, make_pseudonym
from marquee.errors import ForgetIncomplete
from marquee.privacy import forget_journal
from marquee.privacy.personal_tables import DEADLINE_MS, find_personal_tables

_CREATE_NAMES = "CREATE TEMPORARY TABLE new_names (user_id text PRIMARY KEY, pseudonym text NOT NULL) ON COMMIT DROP"
_INSERT_NAMES = "INSERT INTO new_names SELECT * FROM unnest(%s::text[], %s::text[]) ON CONFLICT DO NOTHING"
_SWITCH = "UPDATE privacy_state SET pseudonyms = true, version = version + 1, key_id = %s"


def replace_user_ids(database: Database, key: str) -> dict[str, int]:
    """Replace user ids by pseudonyms in all rows, from this transaction on; return the number of rows by table.

    Writers wait meanwhile. Rows that have pseudonyms stay; those of a run of the monitor that was under way are left to
    the next call. Raises :class:`PrivacyKeyWrong` if users were marked
    with another key, and :class:`ForgetIncomplete` while users are being forgotten.
    """
    tables = find_personal_tables(database)
    if forget_journal.list_open(database):
        raise ForgetIncomplete("users are being forgotten: run `marquee privacy resume` first")
    with database.transaction(deadline_ms=DEADLINE_MS) as cursor:
        lock_marks(cursor, key)
        cursor.execute(_CREATE_NAMES)
        changed = {table: _replace_in(cursor, table, key) for table in tables}
        cursor.execute(_SWITCH, (identify_key(key),))
    return {table: n for table, n in changed.items() if n}


def _replace_in(cursor: Any, table: str, key: str) -> int:
    cursor.execute(f"SELECT DISTINCT user_id FROM {table} EXCEPT SELECT user_id FROM new_names")  # noqa: S608
    users = [user_id for (user_id,) in cursor.fetchall() if user_id is not None and not is_pseudonym(user_id)]
    names = [make_pseudonym(key, user_id) for user_id in users]
    cursor.execute(_INSERT_NAMES, (pg_arrays.text_array(users), pg_arrays.text_array(names)))
    cursor.execute(f"UPDATE {table} AS t SET user_id = n.pseudonym FROM new_names AS n WHERE t.user_id = n.user_id")  # noqa: S608
    return int(cursor.rowcount)
