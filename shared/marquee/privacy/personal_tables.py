"""Export and deletion of a user's rows in all tables with user ids, which are found from the schema.

The rows of each table are deleted in a separate transaction, which also adds their number to the journal. The position
of a deleted event record is kept in ``dropped_records``, so that the reconciliation with Kafka stays exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from marquee.db import written_offsets
from marquee.db.pool import Database
from marquee.events.kinds import DROPPED, QUARANTINE, RECORD_TABLES
from marquee.ingest.marked_users import find_user_ids
from marquee.privacy.forget_journal import JOURNAL, add_count

DEADLINE_MS = 600_000
_FETCH_SIZE = 2_000

_FIND_TABLES = """
SELECT c.oid::regclass::text FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
WHERE c.relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('public', 'rollups'))
  AND c.relkind IN ('r', 'p') AND a.attname = 'user_id' AND NOT a.attisdropped
ORDER BY 1"""

_DELETE_RECORDS = """
WITH gone AS (DELETE FROM {table} WHERE user_id = ANY (%(users)s) RETURNING topic_key, partition, "offset", user_id),
dropped AS (
    INSERT INTO dropped_records (topic_key, partition, "offset") SELECT topic_key, partition, "offset" FROM gone
    ON CONFLICT DO NOTHING
)
SELECT user_id, topic_key, partition, count(*) FROM gone GROUP BY 1, 2, 3 ORDER BY 2, 3, 1"""

_DELETE_ROWS = """
WITH gone AS (DELETE FROM {table} WHERE user_id = ANY (%(users)s) RETURNING user_id)
SELECT user_id, count(*) FROM gone GROUP BY 1 ORDER BY 1"""

_QUARANTINE = 'SELECT topic_key, partition, "offset", raw FROM quarantine'
_REJECTED = "SELECT id, body FROM rejected_events"


def find_personal_tables(database: Database) -> list[str]:
    """Return the names of all tables with a column ``user_id``, except the journal of erasure requests."""
    with database.transaction() as cursor:
        cursor.execute(_FIND_TABLES)
        return [name for (name,) in cursor.fetchall() if name != JOURNAL]


def delete_rows(database: Database, users: Sequence[str]) -> None:
    """Delete the rows of the users in every table, including the quarantine and rejected events."""
    for table in find_personal_tables(database):
        if table in RECORD_TABLES:
            _delete_records(database, table, users)
        else:
            _delete_others(database, table, users)
    _delete_quarantined(database, users)
    _delete_rejected(database, users)


# The tables hold ratings in steps of the scale.
_EXPORT = """
SELECT row || CASE WHEN row ->> 'rating' IS NULL THEN '{{}}'::jsonb
                   ELSE jsonb_build_object('rating', (row ->> 'rating')::float8 * rating_step()) END
FROM {table} AS t, to_jsonb(t) AS row WHERE user_id = ANY (%s)"""


def export_rows(database: Database, names: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of a user by table, each as the object that PostgreSQL's ``to_jsonb`` returns.

    ``names``: the id and the pseudonym of the user.
    """
    exported: dict[str, list[dict[str, Any]]] = {}
    for table in find_personal_tables(database):
        with database.transaction(deadline_ms=DEADLINE_MS) as cursor:
            cursor.execute(_EXPORT.format(table=table), (list(names),))
            exported[table] = [row for (row,) in cursor.fetchall()]
    exported[QUARANTINE] = [{"raw": raw.decode("utf-8", "replace")} for *_, raw in _scan(database, _QUARANTINE, names)]
    exported["rejected_events"] = [
        {"id": id, "body": body.decode("utf-8", "replace")} for id, body in _scan(database, _REJECTED, names)
    ]
    return exported


def count_rows(database: Database, users: Sequence[str]) -> dict[str, int]:
    """Return the number of rows that name one of the users, by table; tables without such rows are omitted."""
    counts = {}
    for table in find_personal_tables(database):
        with database.transaction(deadline_ms=DEADLINE_MS) as cursor:
            cursor.execute(f"SELECT count(*) FROM {table} WHERE user_id = ANY (%s)", (list(users),))  # noqa: S608
            counts[table] = cursor.fetchone()[0]
    counts[QUARANTINE] = len(_scan(database, _QUARANTINE, users))
    counts["rejected_events"] = len(_scan(database, _REJECTED, users))
    return {table: n for table, n in counts.items() if n}


def _delete_records(database: Database, table: str, users: Sequence[str]) -> None:
    with database.transaction(deadline_ms=DEADLINE_MS) as cursor:
        cursor.execute(_DELETE_RECORDS.format(table=table), {"users": list(users)})
        for user, topic_key, partition, n in cursor.fetchall():
            written_offsets.adjust_counts(cursor, topic_key, partition, {table: -n, DROPPED: n})
            add_count(cursor, user, table, n)


def _delete_others(database: Database, table: str, users: Sequence[str]) -> None:
    with database.transaction(deadline_ms=DEADLINE_MS) as cursor:
        cursor.execute(_DELETE_ROWS.format(table=table), {"users": list(users)})
        for user, n in cursor.fetchall():
            add_count(cursor, user, table, n)


def _delete_quarantined(database: Database, users: Sequence[str]) -> None:
    statement = (
        'WITH gone AS (DELETE FROM quarantine WHERE topic_key = %s AND partition = %s AND "offset" = %s '
        'RETURNING topic_key, partition, "offset") '
        'INSERT INTO dropped_records (topic_key, partition, "offset") SELECT * FROM gone ON CONFLICT DO NOTHING'
    )
    for topic_key, partition, offset, raw in _scan(database, _QUARANTINE, users):
        with database.transaction() as cursor:
            written_offsets.lock_partition(cursor, topic_key, partition)
            cursor.execute(statement, (topic_key, partition, offset))
            if cursor.rowcount:
                written_offsets.adjust_counts(cursor, topic_key, partition, {QUARANTINE: -1, DROPPED: 1})
                for user in find_user_ids(raw).intersection(users):
                    add_count(cursor, user, QUARANTINE, 1)


def _delete_rejected(database: Database, users: Sequence[str]) -> None:
    for id, body in _scan(database, _REJECTED, users):
        with database.transaction() as cursor:
            cursor.execute("DELETE FROM rejected_events WHERE id = %s", (id,))
            for user in find_user_ids(body).intersection(users) if cursor.rowcount else ():
                add_count(cursor, user, "rejected_events", 1)


def _scan(database: Database, query: str, users: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return the rows of a query whose last column, arbitrary bytes, names one of the users."""
    wanted = frozenset(users)
    found: list[tuple[Any, ...]] = []
    with database.transaction(deadline_ms=DEADLINE_MS) as cursor:
        cursor.execute(f"DECLARE scanned NO SCROLL CURSOR FOR {query}")
        while True:
            cursor.execute("FETCH %s FROM scanned", (_FETCH_SIZE,))
            rows = [(*row[:-1], bytes(row[-1])) for row in cursor.fetchall()]
            if not rows:
                return found
            found += [row for row in rows if not wanted.isdisjoint(find_user_ids(row[-1]))]
